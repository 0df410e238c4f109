"""The model file. In: one sealed .onnx, windows of sound, perhaps a speaker profile. Out: scores per window.

The file holds everything: front end, network and temperature in the graph; labels, rate and window in its metadata
(`ModelInfo`); and a seal over all of its bytes. A plain ONNX file with a flipped bit usually still runs, with another
answer. So the seal is checked before a session exists. Nothing is ever unpickled.
"""

import hashlib
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime

from speech_emotion import model_info
from speech_emotion.audio import FloatArray
from speech_emotion.errors import ModelError, ModelFormatError, ModelIntegrityError, ModelNotFoundError
from speech_emotion.files import FileTooLargeError, read_regular_file
from speech_emotion.model_info import FORMAT_VERSION, METADATA_KEY, NEXT_STEP, ModelInfo
from speech_emotion.shipped import ShippedModel, find

__all__ = ["FORMAT_VERSION", "METADATA_KEY", "SEAL_KEY", "UNSEALED"]
__all__ += ["EmotionModel", "ModelInfo", "Scores", "seal", "verify"]

SEAL_KEY: Final = "speech_emotion_sha256"
UNSEALED: Final = "0" * 64  # the content of the seal while the file is hashed
MAX_BYTES: Final = 512 * 2**20
OUTPUTS: Final = ("probabilities", "logits", "log_mel")
PROFILE: Final = "profile"  # input (2, n_features) that may be left out
VOICE: Final = "voice"  # output that a profile is the mean and the deviation of
SPEECH: Final = "speech"  # output: the probability of speech; and the threshold for it

# One metadata entry as protobuf writes it: key (field 1, its length), value (field 2, 64 characters).
_SEAL = re.compile(b"\x0a" + bytes([len(SEAL_KEY)]) + SEAL_KEY.encode() + b"\x12\x40([0-9a-f]{64})")
_INSTALL: Final = "Install speech-emotion again, or pass the path of an exported .onnx"
_EXPORT: Final = "Pass the path of an .onnx made by: speech-emotion export"
_EXTERNAL_DATA = b"\x0a\x08location\x12"  # how a tensor names the other file that holds its values


class Scores(NamedTuple):
    """The outputs of a model, one row per window.

    Attributes:
        probabilities: (n, n_labels), rows sum to 1.
        logits: (n, n_labels).
        log_mel: (n, n_mels, n_frames), natural logarithm of mel power.
        voice: (n, n_features), what a profile is made of. A model without enrolment has none: n_features is 0.
        speech: (n,), the probability of speech; 1 from a model that does not judge it.
    """

    probabilities: FloatArray
    logits: FloatArray
    log_mel: FloatArray
    voice: FloatArray
    speech: FloatArray


class EmotionModel:
    """A verified model, ready to score. Threads may share one.

    Attributes:
        info: What the file says about itself.
    """

    def __init__(self, session: onnxruntime.InferenceSession, info: ModelInfo, source: str | Path) -> None:
        self._session, self._source = session, source
        self.info = info

    def __reduce__(self) -> tuple[Any, ...]:
        """A model travels between processes as the path of its file, and a shipped one as its name."""
        return _load_again, (self._source, self.info.sha256)

    @classmethod
    def load(cls, model: str | os.PathLike[str] | None = None) -> "EmotionModel":
        """Load a shipped model by its name, or the file at a path; None for the default.

        Raises:
            ModelNotFoundError: The file cannot be read, or no shipped model has that name.
            ModelFormatError: It is not a model of this package, or has another format version.
            ModelIntegrityError: Its bytes are not the ones that were exported.
        """
        found = find(model)
        source: str | Path
        if isinstance(found, ShippedModel):
            path, source, advice = found.path, found.name, _INSTALL
        else:
            path, source, advice = found, found.absolute(), _EXPORT
        data = _read(path, advice)
        verify(data)
        sha256 = hashlib.sha256(data).hexdigest()
        if isinstance(found, ShippedModel):
            _check_pin(path, sha256)
        session = _open_session(data)
        metadata = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY, "")
        info = model_info.parse(metadata, size_bytes=len(data), sha256=sha256)
        _check_graph(session, info)
        return cls(session, info, source)

    def score(self, batch: npt.ArrayLike, profile: FloatArray | None = None) -> Scores:
        """Score windows of equal length.

        Args:
            batch: (n, n_samples) at 16 kHz, `info.min_samples` or more.
            profile: (2, n_features), the mean and the deviation of `voice` for one speaker; None for any speaker.
                Only a model with enrolment takes it.

        Raises:
            ModelError: The model cannot score these windows, or its answer is not finite.
        """
        feeds = {"waveform": np.asarray(batch, np.float32)}
        if profile is not None:
            feeds[PROFILE] = profile
        names = [*OUTPUTS]
        names += [VOICE] if self.info.enrolment else []
        names += [SPEECH] if SPEECH in self.info.thresholds else []
        try:
            found = dict(zip(names, self._session.run(names, feeds), strict=True))
        except Exception as error:  # ONNX Runtime's own exceptions share no base
            raise ModelError(
                f"the model {self.info.name} could not score windows of shape {np.shape(batch)}: {error}. "
                f"Give it (n, n_samples) with {self.info.min_samples} samples or more"
            ) from error
        n_rows = len(found["probabilities"])
        found = {VOICE: np.zeros((n_rows, 0), np.float32), SPEECH: np.ones(n_rows, np.float32)} | found
        scores = Scores(**found)
        if not (np.isfinite(scores.probabilities).all() and np.isfinite(scores.speech).all()):
            raise ModelError(f"the model {self.info.name} answered NaN. {NEXT_STEP}, or use a shipped one")
        return scores


def seal(data: bytes) -> bytes:
    """Return `data`, an .onnx with a seal entry, with the sha256 of all its other bytes in that entry.

    Raises:
        ModelFormatError: `data` has no seal entry, or several.
    """
    start, end = _seal_span(data)
    unsealed = data[:start] + UNSEALED.encode() + data[end:]
    return data[:start] + hashlib.sha256(unsealed).hexdigest().encode() + data[end:]


def verify(data: bytes) -> None:
    """Check that `data` is a sealed model in one file, every bit of it as it was sealed.

    Raises:
        ModelFormatError: It is not a sealed model, or keeps weights in another file.
        ModelIntegrityError: It is damaged.
    """
    if seal(data) != data:
        raise ModelIntegrityError(
            "this model file is damaged: its bytes are not those that were exported. Copy or export it again"
        )
    if _EXTERNAL_DATA in data:
        raise ModelFormatError(
            f"this model keeps weights in another file, where nothing verifies them. {NEXT_STEP}"
        )


def _seal_span(data: bytes) -> tuple[int, int]:
    """The position of the 64 characters of the seal."""
    seals = list(_SEAL.finditer(data))
    if len(seals) == 1:
        return seals[0].span(1)
    if data.startswith((b"\x80", b"PK")):
        raise ModelFormatError(
            "this is a pickle or a checkpoint of PyTorch, and nothing is ever unpickled. "
            "Make an .onnx of it with: speech-emotion export"
        )
    raise ModelFormatError(
        "this is not a speech-emotion model, or it is truncated. Use an .onnx made by: speech-emotion export"
    )


@lru_cache(maxsize=4)  # of 10,000 tasks that are each sent a classifier, a process loads the model once
def _load_again(source: str | Path, sha256: str) -> EmotionModel:
    """Load the model that was pickled. Raises ModelIntegrityError if its file has changed since."""
    model = EmotionModel.load(source)
    if model.info.sha256 != sha256:
        raise ModelIntegrityError(
            f"{str(source)!r} is no longer the model that was pickled. Load it and pickle it again"
        )
    return model


def _read(path: Path, advice: str) -> bytes:
    try:
        return read_regular_file(path, MAX_BYTES)
    except FileTooLargeError as error:
        raise ModelFormatError(
            f"{str(path)!r} is not a model: {error}. Use an .onnx made by: speech-emotion export"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise ModelNotFoundError(f"cannot read the model {str(path)!r}: {reason}. {advice}") from error


def _check_pin(path: Path, sha256: str) -> None:
    """The digest of a shipped model is kept a second time, outside of it."""
    pin = _read(path.with_suffix(".sha256"), _INSTALL).decode("ascii", "replace").split()
    if pin[:1] != [sha256]:
        raise ModelIntegrityError(
            f"the shipped model {path.stem} is not the one of this release. Install speech-emotion again"
        )


def _open_session(data: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # two threads took three times as long when cores were shared
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its log stays silent: errors say everything
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions share no base
        raise ModelFormatError(
            f"ONNX Runtime {onnxruntime.__version__} cannot run this model: {error}. "
            f"{NEXT_STEP}, or update with: pip install -U onnxruntime"
        ) from error


def _check_graph(session: onnxruntime.InferenceSession, info: ModelInfo) -> None:
    """The graph must have the inputs and outputs of the file contract, with a column per label."""
    inputs = {value.name: (value.type, len(value.shape)) for value in session.get_inputs()}
    outputs = {value.name: value.shape for value in session.get_outputs()}
    if inputs != {"waveform": ("tensor(float)", 2)} or not outputs.keys() >= set(OUTPUTS):
        raise ModelFormatError(
            f"a model takes waveform (batch, n_samples) and gives {', '.join(OUTPUTS)}, this one takes "
            f"{', '.join(inputs)} and gives {', '.join(outputs)}. {NEXT_STEP}"
        )
    n_columns = outputs["probabilities"][-1]
    if n_columns != len(info.labels):
        raise ModelFormatError(
            f"this model names {len(info.labels)} labels and gives {n_columns} probabilities. {NEXT_STEP}"
        )
    if SPEECH in info.thresholds and len(outputs.get(SPEECH, ())) != 1:
        raise ModelFormatError(
            f"a model with a threshold {SPEECH!r} gives {SPEECH} (batch,), this one gives {outputs}. {NEXT_STEP}"
        )
    if info.enrolment is not None:
        n_features = info.enrolment.n_features
        optional = {value.name: value.shape for value in session.get_overridable_initializers()}
        if optional.get(PROFILE) != [2, n_features] or (outputs.get(VOICE) or [None])[-1] != n_features:
            raise ModelFormatError(
                f"a model with enrolment takes {PROFILE} (2, {n_features}) if it is given and gives {VOICE} "
                f"(batch, {n_features}), this one takes {optional} and gives {outputs}. {NEXT_STEP}"
            )
