"""Which module may import which, read from every source file: the picture of docs/architecture.md as a test."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src" / "speech_emotion"
NAME = "speech_emotion"

# The runtime, from the ground up: a module may import those before it, never one after it.
RUNTIME = ["version", "errors", "labels", "text", "files", "extras", "audio", "windows"]
RUNTIME += ["prediction", "model_info", "model", "profile", "stream", "classifier"]
LEARNING = ["corpora", "degrade", "evaluation", "training"]  # the same order holds among these
FRONT_DOORS = ["formats", "cli", "server", "__main__"]
RUNTIME_LIBRARIES = {"numpy", "onnxruntime", "soundfile", "soxr", "av"}
TORCH = {"torch", "onnx", "onnxscript", "safetensors"}


def imported(source: str) -> set[str]:
    """Every module that `source` imports, anywhere in it, also by name through `require` or `import_module`."""
    return {name for node in ast.walk(ast.parse(source)) for name in _imported_by(node)}


def _imported_by(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=str(module), names=names, level=0):
            yield module
            yield from (f"{module}.{alias.name}" for alias in names if module == NAME)
        case ast.ImportFrom(level=level) if level:
            yield "a relative import"
        case ast.Call(
            func=ast.Name(id=name) | ast.Attribute(attr=name), args=[ast.Constant(value=str(module)), *_]
        ) if name in ("require", "import_module"):
            yield module


def parts(name: str) -> list[Path]:
    """The files of a module or of a folder of modules."""
    return sorted((SRC / name).rglob("*.py")) if (SRC / name).is_dir() else [SRC / f"{name}.py"]


def ours(name: str) -> set[str]:
    """The parts of this package that part `name` imports."""
    modules = {module for path in parts(name) for module in imported(path.read_text())}
    found = {module.split(".")[1] for module in modules if module.startswith(f"{NAME}.")}
    return {part for part in found if (SRC / part).exists() or (SRC / f"{part}.py").exists()} - {name}


def foreign(name: str) -> set[str]:
    """The top names of everything that part `name` imports."""
    return {module.split(".")[0] for path in parts(name) for module in imported(path.read_text())}


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
        "speech_emotion",
        "speech_emotion.errors",
        "speech_emotion.audio",
        "torch",
        "librosa.core",
        "av",
        "a relative import",
    }


def test_every_module_has_its_place() -> None:
    found = {path.stem for path in SRC.glob("*.py")} | {
        path.parent.name for path in SRC.glob("*/__init__.py")
    }
    assert found - {"__init__"} == {*RUNTIME, *LEARNING, *FRONT_DOORS}


@pytest.mark.parametrize("order", [RUNTIME, LEARNING], ids=["runtime", "learning"])
def test_imports_point_down(order: list[str]) -> None:
    for index, name in enumerate(order):
        upward = ours(name) & set(order[index + 1 :])
        assert not upward, f"{name} imports {upward}, which stand above it"


@pytest.mark.parametrize("name", RUNTIME)
def test_the_runtime_never_looks_up(name: str) -> None:
    assert not ours(name) & {*LEARNING, *FRONT_DOORS}
    assert foreign(name) - sys.stdlib_module_names - {NAME} <= RUNTIME_LIBRARIES


@pytest.mark.parametrize("name", [*RUNTIME, *LEARNING, "formats"])
def test_nobody_imports_a_front_door(name: str) -> None:
    assert not ours(name) & set(FRONT_DOORS)


def test_the_server_stands_on_the_runtime_alone() -> None:
    assert ours("server") <= set(RUNTIME)
    assert foreign("server") - sys.stdlib_module_names - {NAME} == {"numpy", "starlette", "python_multipart"}


@pytest.mark.parametrize("name", [*RUNTIME, "corpora", "evaluation", "formats"])  # cli asks for it by name
def test_only_training_imports_torch(name: str) -> None:
    assert not foreign(name) & TORCH


def test_the_package_itself_imports_only_what_is_light() -> None:
    tree = ast.parse((SRC / "__init__.py").read_text())
    at_import = {name for node in tree.body for name in _imported_by(node)}
    assert at_import <= {
        "importlib",
        "typing",
        NAME,
        *(
            f"{NAME}.{light}"
            for light in (
                "errors",
                "labels",
                "version",
                "errors.SpeechEmotionError",
                "labels.EMOTIONS",
                "version.__version__",
            )
        ),
    }


def test_the_command_line_imports_what_is_heavy_inside_its_verbs() -> None:
    tree = ast.parse((SRC / "cli" / "__init__.py").read_text())
    at_import = {name.split(".")[0] for node in tree.body for name in _imported_by(node)}
    heavy = {"numpy", "onnxruntime", "rich", "matplotlib", *TORCH, *RUNTIME_LIBRARIES}
    assert not at_import & heavy
    ours_at_import = {
        name for node in tree.body for name in _imported_by(node) if name.startswith(f"{NAME}.")
    }
    assert ours_at_import <= {f"{NAME}.errors", f"{NAME}.labels"}


def test_nothing_is_imported_sideways() -> None:
    for path in SRC.rglob("*.py"):
        assert "a relative import" not in imported(path.read_text()), path
