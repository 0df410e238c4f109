"""The usual voice of one speaker. In: a model's outputs for some of their speech. Out: a SpeakerProfile, kept as JSON.

A profile is the mean and the deviation of the model's output `voice` over the windows of an enrolment. As the
model's input `profile` it makes later answers relative to that voice (speaker normalisation; Busso et al. 2013,
IEEE Transactions on Affective Computing 4(4)). It holds no sound and no labels.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from speech_emotion.audio import FloatArray
from speech_emotion.errors import AudioTooShortError, ModelError
from speech_emotion.files import read_regular_file, write_atomically
from speech_emotion.model_info import Enrolment, ModelInfo
from speech_emotion.version import PROGRAM

FORMAT_VERSION: Final = 1
MAX_BYTES: Final = 2**20
SHORT: Final = 2  # times the minimum: less than that is accepted with a warning
# The profiles of RAVDESS actors that the model was not trained on are nearer: at most 1.2 with one mood alone, and 1.4
# over the telephone. In other corpora it is 1.7 to 4, and with noise 10 dB below a RAVDESS voice 2.8 to 3.8.
FAR: Final = 1.5
# What no voice has. In 16 corpora, as they are and over the telephone, the root mean square of a profile's means is at
# most 2.8 and that of its deviations 0.9 to 1.8; a single mean is at most 41, a single deviation 0.15 to 15. Where a
# telephone has no sound, hours of speech bring single deviations down to 0.003. Pure tones have 6, 0.03, 87 and 0.03.
MAX_MEAN: Final = 10.0
DEVIATIONS: Final = (0.1, 10.0)
MAX_ONE_MEAN: Final = 200.0
ONE_DEVIATION: Final = (1e-3, 100.0)
SHORT_ENROLMENT: Final = "short_enrolment"
WARNINGS: Final = (
    SHORT_ENROLMENT,
    "clipped",
    "quiet",
    "noisy",
    "phase_cancelled",
    "channels_differ",
    "truncated",
    "unfinished",
    "other_tracks",
)
MAX_NAMED_FIELDS: Final = 10  # in a message
NEXT_STEP: Final = "Make it again with: speech-emotion enrol VOICE.wav --out ME.json"


@dataclass(frozen=True, slots=True, repr=False)
class SpeakerProfile:
    """The usual voice of one speaker, for one model. Made by `Classifier.enrol`.

    With a profile, answers are relative to that voice: what sounds angry in one voice may be another's everyday tone.

    Examples:
        >>> me = classifier.enrol("half-a-minute-of-me.wav")
        >>> me.save("me.json")
        >>> classifier.predict("hello.wav", profile=SpeakerProfile.load("me.json"))
        Prediction(calm 0.71, 0.00–3.42 s)

    Attributes:
        model_sha256: The digest of the model that made it. No other model takes it.
        seconds: How much speech it was made from, in seconds.
        n_windows: The number of windows in that speech.
        mean: (n_features,), of the model's output `voice` over the windows. 0 is the mean of the training speakers.
        deviation: (n_features,), of the same. 1 is the deviation within one training speaker.
        created_by: The program and its version.
        warnings: "short_enrolment" if more speech would help, and what is wrong with the recordings.
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
        """Return the profile as an input of the model that made it.

        Args:
            info: What that model says about itself: `classifier.info`.

        Returns:
            (2, n_features) float32: mean and deviation.

        Raises:
            ModelError: Another model made it, or no voice has its numbers.
        """
        n_features = require_enrolment(info).n_features
        if self.model_sha256 != info.sha256:
            raise ModelError(
                f"this profile was made with another model ({self.model_sha256[:12]}, not {info.sha256[:12]}). "
                f"{NEXT_STEP}"
            )
        if not len(self.mean) == len(self.deviation) == n_features:
            raise ModelError(
                f"this profile has {len(self.mean)} means and {len(self.deviation)} deviations, the model {info.name} "
                f"takes {n_features} of each. {NEXT_STEP}"
            )
        mean, deviation = np.array([self.mean, self.deviation], np.float64)
        if not _is_plausible(mean, deviation):
            raise ModelError(
                f"no voice has the numbers of this profile: means up to {abs(mean).max():.3g}, deviations of "
                f"{deviation.min():.3g} to {deviation.max():.3g}, where 0 and 1 are usual. {NEXT_STEP}"
            )
        return np.array([mean, deviation], np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Return everything, in types that JSON knows: what `save` writes.

        Returns:
            "format_version" and the attributes, tuples as lists.
        """
        plain = {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }
        return {"format_version": FORMAT_VERSION, **plain}

    @classmethod
    def from_dict(cls, document: Any) -> "SpeakerProfile":
        """Return the profile that a document describes.

        Args:
            document: What `to_dict` returned, or what was read from its JSON.

        Raises:
            ModelError: `document` is not a profile.
        """
        try:
            return _parse(document)
        except (_MalformedError, RecursionError) as error:
            raise ModelError(f"this is not a speaker profile: {error}. {NEXT_STEP}") from error

    @classmethod
    def from_json(cls, data: bytes) -> "SpeakerProfile":
        """Return the profile in the content of a file.

        Args:
            data: The bytes that `save` wrote.

        Raises:
            ModelError: `data` is not a profile.
        """
        try:
            if len(data) > MAX_BYTES:
                raise _MalformedError(f"it is larger than {MAX_BYTES} bytes")
            return _parse(json.loads(data.decode("utf-8")))
        except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, or _MalformedError
            raise ModelError(f"this is not a speaker profile: {error}. {NEXT_STEP}") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the profile as JSON. The file is there whole or not at all.

        Args:
            path: The file to write; an existing one is replaced.

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
        """Return the profile in a file.

        Args:
            path: The file that `save` wrote.

        Raises:
            ModelError: The file cannot be read, or is not a profile.
        """
        try:
            data = read_regular_file(Path(path), MAX_BYTES)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name, or too large a file
            reason = getattr(error, "strerror", None) or error
            raise ModelError(f"cannot read the profile {str(path)!r}: {reason}. {NEXT_STEP}") from error
        try:
            return cls.from_json(data)
        except ModelError as error:
            raise ModelError(f"{str(path)!r}: {error}") from error


def _is_plausible(mean: npt.NDArray[np.float64], deviation: npt.NDArray[np.float64]) -> bool:
    """Whether a voice can have this mean and deviation, (n_features,) each, on the whole and in each feature."""
    typical_mean, typical_deviation = np.sqrt(np.square([mean, deviation]).mean(axis=1))
    return bool(
        typical_mean <= MAX_MEAN
        and DEVIATIONS[0] <= typical_deviation <= DEVIATIONS[1]
        and abs(mean).max() <= MAX_ONE_MEAN
        and ONE_DEVIATION[0] <= deviation.min()
        and deviation.max() <= ONE_DEVIATION[1]
    )


class _MalformedError(ValueError):
    """Why a document is not a profile."""


def _parse(document: Any) -> SpeakerProfile:
    if not isinstance(document, dict):
        raise _MalformedError("it is not a JSON object")
    document = dict(document)
    if (version := document.pop("format_version", None)) != FORMAT_VERSION:
        raise _MalformedError(f"it has format version {_short(version)}, this package reads {FORMAT_VERSION}")
    names = set(SpeakerProfile.__dataclass_fields__)
    if document.keys() != names:
        different = sorted(names ^ document.keys())
        raise _MalformedError(f"its fields differ in {', '.join(map(_short, different[:MAX_NAMED_FIELDS]))}")
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
    """`value` for a message, whatever it is: JSON can hold text that no terminal can show."""
    return ascii(value)[:40]


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= float(np.finfo(np.float32).max)  # false for NaN


def require_enrolment(info: ModelInfo) -> Enrolment:
    """Return how the model of `info` uses profiles.

    Raises:
        ModelError: It takes none.
    """
    if info.enrolment is None:
        raise ModelError(
            f"the model {info.name} was exported without enrolment: it takes no speaker profile and gives no "
            "features of a voice. Use it without them, or a model whose `speech-emotion info MODEL` names an enrolment"
        )
    return info.enrolment


def population_weight(mean: FloatArray, n_windows: float, prior_windows: float) -> float:
    """Return the weight of the model's training speakers against `n_windows` windows, as a number of windows.

    It is `prior_windows`, because a few seconds in one mood are not a speaker's usual voice. But if the `mean` of
    `voice`, (n_features,), is farther than FAR from that of the training speakers (mean square over the features, less
    its expectation under chance), they speak another language or through another microphone, and the training speakers
    say little about them. Then the weight is the variance of one window over that distance, as in empirical Bayes
    (Efron & Morris 1973, JASA 68(341)).
    """
    distance = float(np.square(mean).mean()) - 1 / n_windows
    return prior_windows if distance <= FAR else min(prior_windows, 1 / distance)


def shrunk(mean: FloatArray, variance: FloatArray, n_windows: float, prior_windows: float) -> FloatArray:
    """Return mean and deviation (2, n_features) of `n_windows` windows, drawn towards 0 and 1 if they are few.

    In the units of `voice`, 0 is the mean of the training speakers and 1 the deviation within one of them. They weigh
    as much as `prior_windows` windows.
    """
    share = n_windows / (n_windows + prior_windows)
    return np.stack([share * mean, np.sqrt(share * variance + (1 - share))]).astype(np.float32)


class RunningProfile:
    """The profile of the speech so far. Its memory does not grow.

    Raises:
        ModelError: The model takes no profiles.
    """

    def __init__(self, info: ModelInfo) -> None:
        self._info = info
        self._enrolment = require_enrolment(info)
        self._n_windows = 0.0
        self._sums = np.zeros((2, self._enrolment.n_features))  # of `voice` and of its square

    def add(self, voice: FloatArray, n_windows: float = 1.0) -> None:
        """Count `voice`, (n_features,), of one window; as less than one window if it overlaps more than the model's."""
        self._n_windows += n_windows
        self._sums += n_windows * np.stack([voice, np.square(voice, dtype=np.float64)])

    def current(self) -> FloatArray | None:
        """Return (2, n_features), the input of the model; None before any speech, and if no voice has such numbers."""
        if not self._n_windows:
            return None
        found = self._shrunk()
        return found if _is_plausible(*found.astype(np.float64)) else None

    def finish(self, seconds: float, warnings: Iterable[str] = ()) -> SpeakerProfile:
        """Return the profile of one speaker: mean and deviation of `voice`, `shrunk` by their `population_weight`.

        Args:
            seconds: How much speech the windows hold.
            warnings: What is wrong with the recordings.

        Raises:
            AudioTooShortError: There is less speech than the model's minimum. Below twice that, the profile carries
                the warning "short_enrolment".
            ModelError: The sound is not like a voice, such as a tone.
        """
        minimum = self._enrolment.min_seconds
        if seconds < minimum:
            raise AudioTooShortError(
                f"an enrolment needs {minimum:g} s of speech or more, this has {seconds:.1f} s. "
                "Record 30 to 60 s of ordinary speech, or pass further recordings of the same person"
            )
        mean, deviation = self._shrunk()
        profile = SpeakerProfile(
            model_sha256=self._info.sha256,
            seconds=round(seconds, 3),
            n_windows=round(self._n_windows),
            mean=tuple(mean.tolist()),
            deviation=tuple(deviation.tolist()),
            created_by=PROGRAM,
            warnings=(*((SHORT_ENROLMENT,) if seconds < SHORT * minimum else ()), *dict.fromkeys(warnings)),
        )
        profile.for_model(self._info)  # refuses what is not like a voice
        return profile

    def _shrunk(self) -> FloatArray:
        """(2, n_features)"""
        mean, square = self._sums / self._n_windows
        weight = population_weight(mean, self._n_windows, self._enrolment.prior_windows)
        return shrunk(mean, np.maximum(square - mean**2, 0), self._n_windows, weight)
