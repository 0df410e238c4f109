"""Where each contender lives. In: a folder for environments. Out: virtual environments, and what each takes on disk.

`set_up` makes them once, through pip and the index it is configured for. Nothing is shared between two environments.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import onnx
from onnx.utils import Extractor

ROOT: Final = Path(__file__).resolve().parents[2]
PEERS: Final = Path(__file__).resolve().parent / "peers"
BEFORE: Final = "b44d425"  # the commit that "today" means in the goals
REQUIREMENTS: Final = {
    "ours": (),
    "before": (),
    "librosa-torch": ("librosa==0.11.0", "torch==2.13.0"),
    "librosa-keras": ("librosa==0.11.0", "tensorflow-cpu"),
    "opensmile": ("opensmile", "scikit-learn"),
    "wav2vec2": ("librosa==0.11.0", "torch==2.13.0", "transformers", "onnx", "onnxruntime==1.32.0"),
    "kaldi": ("kaldi-native-fbank", "numpy", "onnxruntime==1.32.0", "soundfile", "soxr"),
}


def python(folder: Path, name: str) -> str:
    """The interpreter of the environment `name` in `folder`."""
    return str(folder / name / "bin" / "python")


def set_up(folder: Path) -> None:
    """Make every environment that is missing, install this tree again, and write the networks that peers read."""
    for name, requirements in REQUIREMENTS.items():
        if name == "ours" or not Path(python(folder, name)).exists():
            _run(sys.executable, "-m", "venv", "--clear", str(folder / name))
            _install(folder, name, requirements)
    for size in ("base", "large"):
        path = folder / f"wav2vec2-{size}.onnx"
        if not path.exists():
            _run(python(folder, "wav2vec2"), str(PEERS / "wav2vec2.py"), "export", size, str(path))
    assets = ROOT / "src/speech_emotion/assets"
    from_log_mel(assets / "standard.onnx", folder / "standard-from-log-mel.onnx")
    tool = ROOT / "tools/integer_products.py"
    _run(sys.executable, str(tool), str(assets / "compact.onnx"), str(folder / "compact-integer.onnx"))


def _install(folder: Path, name: str, requirements: tuple[str, ...]) -> None:
    pip = (python(folder, name), "-m", "pip", "install", "--quiet")
    if name == "ours":
        _run(*pip, "-c", str(ROOT / "constraints.txt"), str(ROOT))
    elif name == "before":
        with tempfile.TemporaryDirectory() as tree:
            archive = Path(tree) / "tree.tar"
            _run("git", "-C", str(ROOT), "archive", f"--output={archive}", BEFORE)
            _run("tar", "-xf", str(archive), "-C", tree)
            _run(*pip, "-c", str(ROOT / "constraints.txt"), tree)
    else:
        _run(*pip, *requirements)


def from_log_mel(model: Path, path: Path) -> None:
    """Write the part of `model` from its log-mel to its probabilities; of the waveform it reads the length alone."""
    whole = onnx.load(model)
    part = Extractor(whole).extract_model(["waveform", "log_mel"], ["probabilities"])
    onnx.save(part, path)


def footprint(folder: Path, name: str) -> dict[str, Any]:
    """Size in MB and number of packages of an environment, without pip and setuptools, which every one has."""
    packages = next((folder / name / "lib").glob("python3*")) / "site-packages"
    entries = [
        entry for entry in packages.iterdir() if not entry.name.startswith(("pip", "setuptools", "pkg_"))
    ]
    files = [file for entry in entries for file in ([entry] if entry.is_file() else entry.rglob("*"))]
    size = sum(file.stat().st_size for file in files if file.is_file() and not file.is_symlink())
    n_packages = sum(entry.name.endswith(".dist-info") for entry in entries)
    return {"mb": round(size / 1e6, 1), "packages": n_packages}


def _run(*command: str) -> None:
    subprocess.run(command, check=True)  # noqa: S603
