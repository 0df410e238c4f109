"""The ImageNet weights of VGG16. In: nothing, or a file. Out: torchvision's state dict, its checksum verified.

Where no file is given, torchvision's own is downloaded once and kept where torch.hub keeps it:
`$TORCH_HOME/hub/checkpoints`, by default in `~/.cache/torch`.
"""

import hashlib
import http.client
import io
import sys
from pathlib import Path
from typing import Final

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from speech_emotion.errors import ModelError, ModelFormatError, ModelIntegrityError, ModelNotFoundError

URL: Final = "https://download.pytorch.org/models/vgg16-397923af.pth"  # 553 433 881 bytes
SHA256: Final = "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"


def imagenet_state(source: str | Path | None = None) -> dict[str, Tensor]:
    """Torchvision's VGG16, learned on ImageNet: names (`features.0.weight`, …) → weights on the CPU.

    `source` is that `.pth` file on this machine, or weights of the same names as `.safetensors`. A `.pth` is a
    pickle: not a byte of it is interpreted before its sha256 is the published one, and then only tensors are
    taken. A `.safetensors` holds nothing but tensors and needs no such trust.

    Raises ModelNotFoundError, ModelIntegrityError (another checksum), ModelFormatError (not safetensors), and
    ModelError where the download does not come through.
    """
    path = _downloaded() if source is None else Path(source)
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        with path.open("rb") as file:
            _verify(file, path)
            state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
            return state
    except OSError as error:
        raise ModelNotFoundError(
            f"{path}: cannot be read ({error.strerror or error}). Give the file of {URL}, or leave it out."
        ) from error
    except safetensors.SafetensorError as error:
        raise ModelFormatError(f"{path}: not safetensors ({error}). Write or copy it again.") from error


def _downloaded() -> Path:
    """The file in torch.hub's cache, which has it whole and verified or not at all."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / URL.rpartition("/")[2]
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(URL, str(path), hash_prefix=SHA256, progress=sys.stderr.isatty())
    except (OSError, http.client.HTTPException, RuntimeError) as error:
        raise ModelError(
            f"{URL} did not come through: {error}. Nothing was kept. Run it again later, or download it by hand "
            f"and put it at {path}."
        ) from error
    return path


def _verify(file: io.BufferedReader, path: Path) -> None:
    """ModelIntegrityError where `file` is not the published one; else it is at its start again."""
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != SHA256:
        raise ModelIntegrityError(
            f"{path} is not what was published: its sha256 is {sha256}, that of {URL} is {SHA256}. "
            "Delete it and download it again."
        )
    file.seek(0)
