"""How one person speaks. In: what a model heard in some speech of theirs. Out: a SpeakerProfile, kept as JSON.

A profile is the mean and the deviation of the model's output `voice` over the windows of an enrolment. As the
model's input `profile` it makes later answers relative to that voice (speaker normalisation; Busso et al. 2013,
IEEE Transactions on Affective Computing 4(4)). It holds no sound and no labels.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from speech_emotion.audio import FloatArray
from speech_emotion.errors import AudioTooShortError, ModelError
from speech_emotion.files import write_atomically
from speech_emotion.model_info import Enrolment, ModelInfo
from speech_emotion.version import __version__

FORMAT_VERSION: Final = 1
MAX_BYTES: Final = 2**20
SHORT: Final = 2  # times the least: less than that is enough, but more is better
# Farther than every profile of a RAVDESS actor whom the model did not hear: at most 1.2 of one mood alone, and 1.4 over
# the telephone. In other corpora it is 1.7 to 4, and in noise 10 dB below a RAVDESS voice 2.8 to 3.8.
FAR: Final = 1.5
SHORT_ENROLMENT: Final = "short_enrolment"
WARNINGS: Final = (SHORT_ENROLMENT, "clipped", "quiet", "noisy", "phase_cancelled", "truncated")
MANY_FIELDS: Final = 10  # as many are named in a message
NEXT_STEP: Final = "Make it again with: speech-emotion enrol VOICE.wav --out ME.json"


@dataclass(frozen=True, slots=True, repr=False)
class SpeakerProfile:
    """What one model heard of one voice. `mean` and `deviation`: (n_features,) of its output `voice`; see `summarise`.

    seconds: speech heard, n_windows: in so many windows.
    warnings: "short_enrolment" where more speech would help, and what the audio gate noticed.
    """

    model_sha256: str
    seconds: float
    n_windows: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    created_by: str
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"SpeakerProfile({self.seconds:.1f} s of speech)"

    def for_model(self, info: ModelInfo) -> FloatArray:
        """The input (2, n_features) of the model that made it; ModelError for any other."""
        n_features = require_enrolment(info).n_features
        if self.model_sha256 != info.sha256:
            raise ModelError(
                f"this profile was made with another model ({self.model_sha256[:12]}, not {info.sha256[:12]}), which "
                f"hears other features. {NEXT_STEP}"
            )
        if not len(self.mean) == len(self.deviation) == n_features:
            raise ModelError(
                f"this profile has {len(self.mean)} means and {len(self.deviation)} deviations, the model {info.name} "
                f"takes {n_features} of each. {NEXT_STEP}"
            )
        with np.errstate(over="ignore"):  # what is too large becomes infinite
            values = np.array([self.mean, self.deviation], np.float32)
        if not (np.isfinite(values).all() and values[1].min() > 0):
            raise ModelError(
                f"this profile has numbers that are not finite, or deviations that are 0, as 32-bit floats. {NEXT_STEP}"
            )
        return values

    def to_dict(self) -> dict[str, Any]:
        """Everything, in types that JSON knows: what `save` writes."""
        plain = {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }
        return {"format_version": FORMAT_VERSION, **plain}

    @classmethod
    def from_dict(cls, document: Any) -> "SpeakerProfile":
        """The profile that `to_dict` gave, also after a journey as JSON; ModelError where it is none."""
        try:
            return _parse(document)
        except (_MalformedError, RecursionError) as error:
            raise ModelError(f"this is no profile of a voice: {error}. {NEXT_STEP}") from error

    @classmethod
    def from_json(cls, data: bytes) -> "SpeakerProfile":
        """The profile in `data`, the content of a file that `save` wrote; ModelError where it is none."""
        try:
            if len(data) > MAX_BYTES:
                raise _MalformedError(f"it is larger than {MAX_BYTES} bytes")
            return _parse(json.loads(data.decode("utf-8")))
        except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, or _MalformedError
            raise ModelError(f"this is no profile of a voice: {error}. {NEXT_STEP}") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the profile as JSON: whole, or not at all; to a device or a pipe, just write.

        Raises:
            ModelError: `path` cannot be written.
        """
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        try:
            write_atomically(Path(path), text.encode())
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            reason = getattr(error, "strerror", None) or error
            raise ModelError(
                f"cannot write the profile {str(path)!r}: {reason}. Choose another path"
            ) from error

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "SpeakerProfile":
        """The profile that `save` wrote; ModelError where it cannot be read or is none."""
        try:
            with Path(path).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            reason = getattr(error, "strerror", None) or error
            raise ModelError(f"cannot read the profile {str(path)!r}: {reason}. {NEXT_STEP}") from error
        try:
            return cls.from_json(data)
        except ModelError as error:
            raise ModelError(f"{str(path)!r}: {error}") from error


class _MalformedError(ValueError):
    """What a profile may not be."""


def _parse(document: Any) -> SpeakerProfile:
    if not isinstance(document, dict):
        raise _MalformedError("it is no JSON object")
    document = dict(document)
    if (version := document.pop("format_version", None)) != FORMAT_VERSION:
        raise _MalformedError(f"it has format version {_short(version)}, this package reads {FORMAT_VERSION}")
    names = set(SpeakerProfile.__dataclass_fields__)
    if document.keys() != names:
        different = sorted(names ^ document.keys())
        raise _MalformedError(f"its fields differ in {', '.join(map(_short, different[:MANY_FIELDS]))}")
    numbers = ("seconds", "n_windows")
    if not all(_is_number(document[name]) and document[name] > 0 for name in numbers):
        raise _MalformedError(f"{' and '.join(numbers)} must be numbers above 0")
    mean, deviation = document["mean"], document["deviation"]
    if not (isinstance(mean, list) and isinstance(deviation, list) and len(mean) == len(deviation) > 0):
        raise _MalformedError("mean and deviation must be lists of one length")
    if not all(map(_is_number, mean + deviation)) or min(deviation) <= 0:
        raise _MalformedError("mean and deviation must be finite numbers, deviations above 0")
    texts = (document["model_sha256"], document["created_by"])
    if not all(isinstance(text, str) and text.isascii() for text in texts):
        raise _MalformedError("model_sha256 and created_by must be text, in ASCII")
    warnings = document["warnings"]
    if not isinstance(warnings, list) or not all(warning in WARNINGS for warning in warnings):
        raise _MalformedError(f"warnings must be a list of the words {', '.join(WARNINGS)}")
    tuples = {"mean": tuple(mean), "deviation": tuple(deviation), "warnings": tuple(warnings)}
    return SpeakerProfile(**document | tuples)


def _short(value: Any) -> str:
    """`value` for a message, whatever it is: JSON knows texts that no message can carry."""
    return ascii(value)[:40]


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= float(np.finfo(np.float32).max)  # false for NaN


def require_enrolment(info: ModelInfo) -> Enrolment:
    """How `info`'s model enrols; ModelError where it cannot."""
    if info.enrolment is None:
        raise ModelError(
            f"the model {info.name} was exported without enrolment and takes no profile of a voice. "
            "Use it without one, or a model whose `speech-emotion info` names an enrolment"
        )
    return info.enrolment


def summarise(
    info: ModelInfo, voices: Sequence[FloatArray], seconds: float, warnings: Sequence[str] = ()
) -> SpeakerProfile:
    """The profile of `voices`, (n_features,) a window with speech, heard in `seconds` of speech.

    Mean and deviation are `shrunk` by the `worth_of_population`.
    AudioTooShortError below the model's minimum; below twice that a warning "short_enrolment".
    """
    enrolment = require_enrolment(info)
    if seconds < enrolment.min_seconds:
        raise AudioTooShortError(
            f"an enrolment needs {enrolment.min_seconds:g} s of speech or more, this has {seconds:.1f} s. "
            "Record 30 to 60 s of ordinary speech, or pass further recordings of the same person"
        )
    heard = np.stack(voices)
    mean, deviation = shrunk(heard, worth_of_population(heard, enrolment.prior_windows))
    is_short = seconds < SHORT * enrolment.min_seconds
    return SpeakerProfile(
        model_sha256=info.sha256,
        seconds=round(seconds, 3),
        n_windows=len(voices),
        mean=tuple(mean.tolist()),
        deviation=tuple(deviation.tolist()),
        created_by=f"speech-emotion {__version__}",
        warnings=(*((SHORT_ENROLMENT,) if is_short else ()), *dict.fromkeys(warnings)),
    )


def worth_of_population(voices: FloatArray, prior_windows: float) -> float:
    """As how many windows the population weighs against `voices` (n, n_features).

    `prior_windows`, because the mood of a few seconds is not how somebody always sounds; but only so long as the mean
    of `voices` is no farther than FAR from the population's: the mean of its square over the features, less what
    chance gives it. Beyond that they speak another language, or through another microphone, of which the population
    knows little: it weighs the variance of one window over that distance, as empirical Bayes has it (Efron & Morris
    1973, JASA 68(341)).
    """
    distance = float(np.square(voices.mean(axis=0)).mean()) - 1 / len(voices)
    return prior_windows if distance <= FAR else min(prior_windows, 1 / distance)


def shrunk(voices: FloatArray, prior_windows: float) -> FloatArray:
    """Mean and deviation (2, n_features) of `voices` (n, n_features), drawn towards 0 and 1 where n is small.

    In the units of `voice` 0 is the mean of the population and 1 the deviation within a speaker of it; they weigh as
    much as `prior_windows` windows.
    """
    share = len(voices) / (len(voices) + prior_windows)
    deviation = np.sqrt(share * voices.var(axis=0) + (1 - share))
    return np.stack([share * voices.mean(axis=0), deviation]).astype(np.float32)
