"""What a model file says about itself. In: its metadata as JSON. Out: a ModelInfo, or a refusal."""

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, replace
from typing import Any, Final, Self

from speech_emotion.audio import SAMPLE_RATE
from speech_emotion.errors import ConfigError, ModelFormatError

FORMAT_VERSION: Final = 1
METADATA_KEY: Final = "speech_emotion"
NEXT_STEP: Final = "Export it again with: speech-emotion export"
MIN_HOP_SECONDS: Final = 0.05

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
    """How a model takes to a voice. Its output `voice` has mean 0 and deviation 1 over the people it learned from.

    n_features: columns of `voice`. min_seconds: speech that a profile needs. prior_windows: as how many windows
    that population weighs in a profile, at most. gain: UAR with a profile minus UAR without, on validation
    speakers.
    """

    n_features: int
    min_seconds: float
    prior_windows: float
    gain: float | None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The metadata of a model file; `size_bytes` and `sha256` are measured on the file itself."""

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
        return round(self.window_seconds * self.sample_rate)

    @property
    def hop_samples(self) -> int:
        return round(self.hop_seconds * self.sample_rate)

    @property
    def min_samples(self) -> int:
        return round(self.min_seconds * self.sample_rate)

    def with_hop(self, hop_seconds: float | None) -> Self:
        """The same model asked for an answer every `hop_seconds`, or at its own pace with None.

        ConfigError unless MIN_HOP_SECONDS ≤ hop_seconds ≤ window_seconds: beyond that, sound would go unheard.
        """
        if hop_seconds is None:
            return self
        is_number = isinstance(hop_seconds, int | float) and not isinstance(hop_seconds, bool)
        if not is_number or not MIN_HOP_SECONDS <= hop_seconds <= self.window_seconds:
            raise ConfigError(
                f"hop_seconds, how often an answer is given, must be {MIN_HOP_SECONDS:g} to {self.window_seconds:g} s, "
                f"not {hop_seconds!r:.40}. Pass for example 0.5, or leave it out for the model's {self.hop_seconds:g} s"
            )
        return replace(self, hop_seconds=float(hop_seconds))


def parse(text: str, *, size_bytes: int, sha256: str) -> ModelInfo:
    """The ModelInfo that `text`, the metadata entry of a file, describes."""
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
    """metadata[key], if it has the type it must have; lists of names become tuples."""
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
    except TypeError:  # other names, or values that are no numbers
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
