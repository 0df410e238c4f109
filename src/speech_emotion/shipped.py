"""The models in the package. In: what `load` and `--model` take. Out: the shipped model or the file that it means.

A new model is the three files that `speech-emotion export` writes, in assets/, and its line in `MODELS`.
"""

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Final, NamedTuple

from speech_emotion.errors import ModelNotFoundError

SUFFIX: Final = ".onnx"
_ASSETS: Final = Path(__file__).parent / "assets"


class ShippedModel(NamedTuple):
    """A model of the package.

    Attributes:
        name: What `load` and `--model` call it; the model file says the same.
        path: Its .onnx. The checksum is beside it.
        purpose: What it is for, in a few words.
    """

    name: str
    path: Path
    purpose: str

    @property
    def is_default(self) -> bool:
        """Whether it answers if no model is chosen."""
        return self == MODELS[0]


# The first is the default.
MODELS: Final[tuple[ShippedModel, ...]] = (
    ShippedModel("standard", _ASSETS / "standard.onnx", "for voices from anywhere"),
    ShippedModel("compact", _ASSETS / "compact.onnx", "small and fast, for studio English"),
)


def find(model: str | os.PathLike[str] | None) -> ShippedModel | Path:
    """Return the shipped model or the file that is meant.

    Args:
        model: The name of a shipped model, or the path of a file; None for the default. Text without a folder and
            without .onnx is a name, whatever files there are: `./compact` is the file.

    Raises:
        ModelNotFoundError: There is no shipped model of that name.
    """
    if model is None:
        return MODELS[0]
    if not isinstance(model, str) or os.path.basename(model) != model or model.endswith(SUFFIX):  # noqa: PTH119
        return Path(model)
    by_name = {shipped.name: shipped for shipped in MODELS}
    if model not in by_name:
        close = get_close_matches(model, by_name, n=1)
        advice = f"Did you mean {close[0]!r}?" if close else f"Choose one of: {', '.join(by_name)}."
        raise ModelNotFoundError(
            f"no shipped model is called {model!r}. {advice} Text with a folder, as ./mine, or {SUFFIX} is a file"
        )
    return by_name[model]
