"""What a model file says about itself. In: its metadata as JSON. Out: a ModelInfo, or a ModelFormatError."""

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, replace
from typing import Any, Final, Self

from speech_emotion.audio import SAMPLE_RATE
from speech_emotion.errors import ConfigError, ModelFormatError
from speech_emotion.text import guard, printable

FORMAT_VERSION: Final = 1
METADATA_KEY: Final = "speech_emotion"
NEXT_STEP: Final = "Export it again with: speech-emotion export"
MAX_NAME_LENGTH: Final = 100  # characters, of the model's name and of a label
MIN_HOP_SECONDS: Final = 0.05
MIN_NETWORK_HOP_SECONDS: Final = 0.25  # for a server, which pays for what a client asks

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "name": (str,),
    "format_version": (int,),
    "labels": (list,),
    "sample_rate": (int,),
    "window_seconds": (int, float),
    "hop_seconds": (int, float),
    "min_seconds": (int, float),
    "temperature": (int, float),
    "n_parameters": (int,),
    "recipe": (dict,),
    "corpora": (list,),
    "protocol": (dict, type(None)),
    "split_hash": (str, type(None)),
    "commit": (str, type(None)),
    "metrics": (dict,),
    "licence": (str,),
    "citation": (str,),
    "thresholds": (dict,),
    "enrolment": (dict, type(None)),
}


@dataclass(frozen=True, slots=True)
class Enrolment:
    """How a model uses speaker profiles. Its output `voice` has mean 0 and deviation 1 over its training speakers.

    Attributes:
        n_features: Columns of `voice`.
        min_seconds: How much speech a profile needs, in seconds.
        prior_windows: The weight of the training speakers in a profile, as a number of windows, at most.
        gain: UAR with a profile minus UAR without, on validation speakers, as a share of 1; None if not measured.
    """

    n_features: int
    min_seconds: float
    prior_windows: float
    gain: float | None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The metadata of a model file.

    Attributes:
        name: The model's name.
        format_version: The version of this metadata.
        labels: The emotions, in the order of the model's outputs.
        sample_rate: The rate of its input in Hz.
        window_seconds: The length of a window in seconds.
        hop_seconds: The time between the starts of two windows in seconds.
        min_seconds: The shortest recording that is scored, in seconds.
        temperature: What the logits are divided by; where there is one for each window, the best single one.
        n_parameters: The number of the network's parameters.
        recipe: The settings of its training.
        corpora: What it learned from.
        protocol: How its speakers were split; None for a model that learned from all of them.
        split_hash: The digest of that split.
        commit: The version of the code that trained it.
        metrics: Its test result, each number with its interval.
        licence: The licence of the weights.
        citation: What to cite.
        thresholds: "not_sure", "set" and "speech"; each may be missing.
        enrolment: How it uses speaker profiles; None if it takes none.
        size_bytes: The size of the file in bytes, as measured.
        sha256: The digest of the file, as measured.
    """

    name: str
    format_version: int
    labels: tuple[str, ...]
    sample_rate: int
    window_seconds: float
    hop_seconds: float
    min_seconds: float
    temperature: float
    n_parameters: int
    recipe: Mapping[str, Any] = field(hash=False)
    corpora: tuple[str, ...]
    protocol: Mapping[str, Any] | None = field(hash=False)
    split_hash: str | None
    commit: str | None
    metrics: Mapping[str, Any] = field(hash=False)
    licence: str
    citation: str
    thresholds: Mapping[str, float] = field(hash=False)
    enrolment: Enrolment | None
    size_bytes: int
    sha256: str

    @property
    def window_samples(self) -> int:
        """The length of a window in samples."""
        return round(self.window_seconds * self.sample_rate)

    @property
    def hop_samples(self) -> int:
        """The time between two windows in samples."""
        return round(self.hop_seconds * self.sample_rate)

    @property
    def min_samples(self) -> int:
        """The shortest recording that is scored, in samples."""
        return round(self.min_seconds * self.sample_rate)

    def with_hop(self, hop_seconds: float | None, *, minimum: float = MIN_HOP_SECONDS) -> Self:
        """Return this info with another hop.

        Args:
            hop_seconds: The time between two answers; None leaves the model's own.
            minimum: The smallest hop that is allowed. The largest is the window: beyond it, sound would be skipped.

        Raises:
            ConfigError: `hop_seconds` is not a number in that range.
        """
        if hop_seconds is None:
            return self
        is_number = isinstance(hop_seconds, int | float) and not isinstance(hop_seconds, bool)
        if not is_number or not minimum <= hop_seconds <= self.window_seconds:
            raise ConfigError(
                f"hop_seconds, the time between two answers, must be {minimum:g} to {self.window_seconds:g} s, "
                f"not {hop_seconds!r:.40}. Pass for example 0.5, or leave it out for the model's {self.hop_seconds:g} s"
            )
        return replace(self, hop_seconds=float(hop_seconds))


def parse(text: str, *, size_bytes: int, sha256: str) -> ModelInfo:
    """Return the ModelInfo that a model file describes.

    Args:
        text: The metadata entry of the file.
        size_bytes: The size of the file.
        sha256: The digest of the file.

    Raises:
        ModelFormatError: The metadata is not what this version of the package reads.
    """
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refusal(f"must be JSON, got {text[:40]!r}") from error
    if not isinstance(metadata, dict):
        raise _refusal(f"must be a JSON object, got {text[:40]!r}")
    version = metadata.get("format_version")
    if version != FORMAT_VERSION:
        raise ModelFormatError(
            f"this model has format version {version!r} and this package reads {FORMAT_VERSION}. "
            "Update with: pip install -U speech-emotion, or export the model again"
        )
    values = {key: _checked(key, metadata) for key in _TYPES}
    if values["enrolment"] is not None:
        values["enrolment"] = _read_enrolment(values["enrolment"])
    info = ModelInfo(**values, size_bytes=size_bytes, sha256=sha256)
    _check_values(info)
    return info


def _checked(key: str, metadata: dict[str, Any]) -> Any:
    """metadata[key] if it has the right type; lists of names become tuples."""
    value = metadata.get(key, MISSING)
    is_well_typed = isinstance(value, _TYPES[key]) and not isinstance(value, bool)
    if isinstance(value, float):
        is_well_typed = is_well_typed and math.isfinite(value)
    if isinstance(value, list):
        is_well_typed = is_well_typed and all(isinstance(item, str) for item in value)
        value = tuple(value)
    if not is_well_typed:
        types = " or ".join(kind.__name__ for kind in _TYPES[key])
        got = "nothing" if value is MISSING else repr(value)[:60]
        raise _refusal(f"must have {key!r} as {types}, got {got}")
    return value


def _read_enrolment(facts: dict[str, Any]) -> Enrolment:
    try:
        enrolment = Enrolment(**facts)
        positive = (enrolment.n_features, enrolment.min_seconds, enrolment.prior_windows)
        gain = 0.0 if enrolment.gain is None else enrolment.gain
        is_sound = all(value > 0 for value in positive) and all(map(math.isfinite, (*positive, gain)))
    except TypeError:  # other names, or values that are not numbers
        is_sound = False
    if not is_sound:
        names = ", ".join(Enrolment.__dataclass_fields__)
        raise _refusal(f"must have in 'enrolment' the numbers {names}, got {str(facts)[:80]}")
    return enrolment


def _check_values(info: ModelInfo) -> None:
    if info.sample_rate != SAMPLE_RATE:
        raise _refusal(f"must have sample_rate {SAMPLE_RATE}, got {info.sample_rate}")
    if len(info.labels) < 2 or len(set(info.labels)) != len(info.labels):
        raise _refusal(f"must have two or more different labels, got {info.labels}")
    for text in (info.name, *info.labels):
        if not 0 < len(text) <= MAX_NAME_LENGTH or text != printable(text) or text != guard(text.strip()):
            raise _refusal(
                f"must have a name and labels that can be shown: 1 to {MAX_NAME_LENGTH} characters, none of them a "
                f"control character, none of = + - @ ' and no space at the beginning, got {text[:40]!a}"
            )
    if not 0.01 <= info.hop_seconds <= info.window_seconds <= 60:
        raise _refusal(
            "must have 0.01 ≤ hop_seconds ≤ window_seconds ≤ 60, "
            f"got hop {info.hop_seconds:g}, window {info.window_seconds:g}"
        )
    if not 0.01 <= info.min_seconds <= info.window_seconds:
        raise _refusal(f"must have 0.01 ≤ min_seconds ≤ window_seconds, got min {info.min_seconds:g}")
    if info.temperature <= 0:
        raise _refusal(f"must have a positive temperature, got {info.temperature:g}")
    if not all(isinstance(value, int | float) and 0 <= value <= 1 for value in info.thresholds.values()):
        raise _refusal(f"must have thresholds between 0 and 1, got {dict(info.thresholds)}")


def _refusal(complaint: str) -> ModelFormatError:
    return ModelFormatError(f"the model's metadata entry {METADATA_KEY!r} {complaint}. {NEXT_STEP}")
