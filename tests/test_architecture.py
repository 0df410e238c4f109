"""The picture of docs/architecture.md as a test: the allowed imports, and how large functions may be."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src" / "speech_emotion"
NAME = "speech_emotion"

# From the ground up: a part may import those before it, never one after it. A folder is one part here.
RUNTIME = [
    "version",
    "provenance",
    "errors",
    "labels",
    "text",
    "files",
    "extras",
    "cores",
    "parallel",
    "audio",
    "inputs",
    "windows",
]
RUNTIME += ["segments", "prediction", "merge", "model_info", "shipped", "model", "profile", "stream"]
RUNTIME += ["segment_predictor", "classifier"]
LEARNING = ["degrade", "corpora", "evaluation", "training"]
FRONT_DOORS = ["batch", "formats", "server", "client", "cli", "__main__"]
# The same within the folders: their modules and folders from the ground up.
INSIDE = {
    "audio": [
        "slices",
        "mp3",
        "containers",
        "structure",
        "parts",
        "decoders",
        "quality",
        "sources",
        "reader",
        "speech",
    ],
    "segments": ["segment", "subtitles", "textgrid", "tables", "transcripts", "reader"],
    "formats": ["rows", "cues", "look", "summary", "cards", "report", "picture"],
    "batch": ["stores", "part", "outputs", "manifest", "summary", "report", "plan", "engines", "run"],
    "server": [
        "scheduling",
        "origins",
        "problems",
        "scoring",
        "metrics",
        "keys",
        "bodies",
        "http",
        "websocket",
        "fair",
        "worker",
        "lanes",
        "jobs",
        "gate",
        "openapi",
        "service",
        "protocols",
        "logs",
        "run",
    ],
    "corpora": [
        "manifest",
        "own",
        "readers",
        "download",
        "prepare",
        "validate",
        "validate_report",
    ],
    "evaluation": [
        "splits",
        "metrics",
        "score",
        "answers",
        "result",
        "robustness",
        "enrolment",
        "report",
        "audit",
    ],
    "training": [
        "config",
        "sealed_tensors",
        "networks",
        "weights",
        "data",
        "fit",
        "export",
        "runs",
        "progress",
        "baseline",
    ],
}
RUNTIME_LIBRARIES = {"numpy", "onnxruntime", "soundfile", "soxr", "av"}
SERVER_LIBRARIES = {"numpy", "starlette", "python_multipart", "uvicorn", "prometheus_client"}
TORCH = {"torch", "onnx", "onnxscript", "safetensors"}
MAX_LINES = 50
MAX_PARAMETERS = 6
_FRONT_DOORS_IN_PYTHON = ("src/speech_emotion/classifier.py", "src/speech_emotion/batch/__init__.py")
MAX_LINES_OF_A_PREDICTION = 6_250  # of the modules that `predict` imports


def imported(source: str) -> set[str]:
    """Every module that `source` imports, anywhere in it, also by name through `require` or `import_module`."""
    return {name for node in ast.walk(ast.parse(source)) for name in _imported_by(node)}


def _imported_by(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=str(module), names=names, level=0):
            for alias in names:  # a module of ours, or a name out of one
                full = f"{module}.{alias.name}"
                yield full if full.removeprefix(f"{NAME}.") in MODULES else module
        case ast.ImportFrom(level=level) if level:
            yield "a relative import"
        case ast.Call(
            func=ast.Name(id=name) | ast.Attribute(attr=name), args=[ast.Constant(value=str(module)), *_]
        ) if name in ("require", "import_module"):
            yield module


@dataclass(frozen=True)
class Module:
    """One file of the package: its dotted name below the package and what it imports."""

    name: str
    path: Path

    @property
    def imports(self) -> set[str]:
        return imported(self.path.read_text())

    @property
    def ours(self) -> set[str]:
        """The modules of this package that it imports, by their dotted names."""
        below = {name.removeprefix(f"{NAME}.") for name in self.imports if name.startswith(f"{NAME}.")}
        return {name for name in below if name in MODULES} - {self.name}

    @property
    def foreign(self) -> set[str]:
        """The top names of everything else that it imports, the standard library left out."""
        return {name.split(".")[0] for name in self.imports} - sys.stdlib_module_names - {NAME}


def _dotted(path: Path) -> str:
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {_dotted(path): Module(_dotted(path), path) for path in sorted(SRC.rglob("*.py"))}


def part(name: str) -> list[Module]:
    """The module `name`, or every module of the folder `name`."""
    return [module for dotted, module in MODULES.items() if f"{dotted}.".startswith(f"{name}.")]


def arrows(names: list[str], prefix: str = "") -> dict[str, set[str]]:
    """Which of the parts `names` (below the folder `prefix`) import which others of them."""

    def owner(dotted: str) -> str:
        return dotted.removeprefix(prefix).split(".")[0] if dotted.startswith(prefix) else ""

    return {
        name: ({owner(other) for module in part(prefix + name) for other in module.ours} & set(names))
        - {name}
        for name in names
    }


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function of the package and of the app, with where it stands."""
    for path in [*SRC.rglob("*.py"), *(ROOT / "app").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node


def test_the_reader_of_imports_sees_all_of_them() -> None:
    source = """
import os.path
from speech_emotion import errors
from speech_emotion.audio import load
def verb():
    import torch
    return require("librosa.core", extra="train"), importlib.import_module("av")
from . import sideways
"""
    assert imported(source) == {
        "os.path",
        "speech_emotion.errors",
        "speech_emotion.audio",
        "torch",
        "librosa.core",
        "av",
        "a relative import",
    }


def test_every_module_has_its_place() -> None:
    found = {name.split(".")[0] for name in MODULES} - {"__init__"}
    assert found == {*RUNTIME, *LEARNING, *FRONT_DOORS}


@pytest.mark.parametrize("folder", INSIDE)
def test_every_module_of_a_folder_has_its_place(folder: str) -> None:
    found = {name.split(".")[1] for name in MODULES if name.startswith(f"{folder}.")}
    assert found == set(INSIDE[folder])


def assert_imports_point_down(order: list[str], prefix: str = "") -> None:
    for name, targets in arrows(order, prefix).items():
        upward = targets & set(order[order.index(name) + 1 :])
        assert not upward, f"{prefix}{name} imports {upward}, which stand above it"


@pytest.mark.parametrize("order", [RUNTIME, [*RUNTIME, *LEARNING]], ids=["runtime", "learning"])
def test_imports_point_down(order: list[str]) -> None:
    assert_imports_point_down(order)


@pytest.mark.parametrize("folder", INSIDE)
def test_imports_point_down_within(folder: str) -> None:
    assert_imports_point_down(INSIDE[folder], f"{folder}.")


def test_no_module_imports_itself_through_others() -> None:
    try:
        list(TopologicalSorter({name: module.ours for name, module in MODULES.items()}).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' → '.join(error.args[1])}")


@pytest.mark.parametrize("name", RUNTIME)
def test_the_runtime_needs_only_what_is_light(name: str) -> None:
    assert {library for module in part(name) for library in module.foreign} <= RUNTIME_LIBRARIES


@pytest.mark.parametrize("name", [*RUNTIME, *LEARNING])
def test_no_part_imports_a_front_door(name: str) -> None:
    doors = {other.split(".")[0] for module in part(name) for other in module.ours} & set(FRONT_DOORS)
    assert not doors


def test_the_server_stands_on_the_runtime_alone() -> None:
    for module in part("server"):
        assert {other.split(".")[0] for other in module.ours} <= {*RUNTIME, "server"}, module.name
        assert module.foreign <= SERVER_LIBRARIES, module.name


@pytest.mark.parametrize("name", [*RUNTIME, "degrade", "corpora", "evaluation", "formats"])
def test_only_training_imports_torch(name: str) -> None:
    for module in part(name):
        assert not module.foreign & TORCH, module.name


def test_the_package_itself_imports_only_what_is_light() -> None:
    tree = ast.parse((SRC / "__init__.py").read_text())
    at_import = {name for node in tree.body for name in _imported_by(node)}
    assert {name.split(".")[0] for name in at_import} <= {"importlib", "os", "typing", NAME}
    light = {f"{NAME}.{part}" for part in ("errors", "labels", "version")}
    assert {".".join(name.split(".")[:2]) for name in at_import if name.startswith(f"{NAME}.")} <= light


@pytest.mark.parametrize("module", part("cli"), ids=lambda module: str(module.name))
def test_the_command_line_imports_what_is_heavy_inside_its_verbs(module: Module) -> None:
    at_import = {name for node in ast.parse(module.path.read_text()).body for name in _imported_by(node)}
    assert {name.split(".")[0] for name in at_import} - sys.stdlib_module_names <= {NAME, "typer"}
    ours = {".".join(name.split(".")[:2]) for name in at_import if name.startswith(f"{NAME}.")}
    assert ours <= {f"{NAME}.{light}" for light in ("cli", "errors", "labels", "text", "version")}


def test_a_prediction_imports_a_small_part() -> None:
    code = """
import sys
from speech_emotion import cli
sys.argv = ["speech-emotion", "predict", "--demo"]
try:
    cli.main()
finally:
    print(*(module.__file__ for name, module in sys.modules.items() if name.startswith("speech_emotion")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    paths = [Path(path) for path in done.stdout.splitlines()[-1].split()]
    assert not {"training", "evaluation", "corpora"} & {path.parent.name for path in paths}
    n_lines = sum(len(path.read_text().splitlines()) for path in paths)
    assert 2_000 < n_lines <= MAX_LINES_OF_A_PREDICTION


def test_imports_are_absolute() -> None:
    for module in MODULES.values():
        assert "a relative import" not in module.imports, module.name


def test_no_function_is_long() -> None:
    long = {
        where: n_lines
        for where, node in functions()
        if (n_lines := (node.end_lineno or node.lineno) - node.lineno + 1) > MAX_LINES
    }
    assert not long


def test_no_function_has_many_parameters() -> None:
    """Exempt are verbs of the command line, whose parameters are its options, and the front door in Python."""
    many = {}
    for where, node in functions():
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        n_parameters = len([one for one in arguments if one.arg not in ("self", "cls")])
        is_verb = any("command" in ast.unparse(decorator) for decorator in node.decorator_list)
        if n_parameters > MAX_PARAMETERS and not is_verb and not where.startswith(_FRONT_DOORS_IN_PYTHON):
            many[where] = n_parameters
    assert not many


def test_every_public_name_has_a_docstring() -> None:
    bare = []
    for name, module in MODULES.items():
        tree = ast.parse(module.path.read_text())
        assert ast.get_docstring(tree) or not tree.body, f"{name}: says nothing of what goes in and comes out"
        bare += [f"{name}.{found}" for found in _without_docstring(tree)]
    assert not bare


def _without_docstring(tree: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if node.name.startswith("_"):
                continue
            is_overload = any(ast.unparse(decorator) == "overload" for decorator in node.decorator_list)
            if not is_overload and not ast.get_docstring(node):
                yield prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from _without_docstring(node, f"{node.name}.")
