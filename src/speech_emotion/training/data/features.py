"""Feature matrices of a prepared dataset, for classical models and for exploration.

features/ in the dataset's folder has one NAME.npy (n_frames, n_columns) float32 for each key of COLUMNS, offsets.npy
(clip i is rows offsets[i] : offsets[i + 1]), features.json with the unit of every column, and manifest.json.
Frame t of every matrix is samples 320 t to 320 t + 512, without padding. Log-mel and MFCC come from the front end of
the networks; every other column is librosa's.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib.stride_tricks import sliding_window_view

from speech_emotion import files
from speech_emotion.audio import SAMPLE_RATE
from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.errors import CorpusError
from speech_emotion.extras import require
from speech_emotion.parallel import Progress, in_parallel
from speech_emotion.training.networks.base import one_thread
from speech_emotion.training.networks.frontend import LogMel, Mfcc

FloatArray = npt.NDArray[np.float32]

SCHEMA: Final = 3
N_FFT: Final = 512
HOP: Final = 320
N_MELS: Final = 64
N_MFCC: Final = 20
CLIPS_PER_PART: Final = 32

PITCH_FRAME: Final = 1024  # 64 ms: four periods of the lowest voice
PITCH_HZ: Final = (60.0, 600.0)
CONTRAST_EDGES_HZ: Final = (0, 200, 400, 800, 1600, 3200, 6400, SAMPLE_RATE // 2)
NOTES: Final = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
SMALLEST_ENERGY: Final = 1e-10


def _columns(unit: str, prefix: str, names: Iterable[object]) -> dict[str, str]:
    return {f"{prefix}_{name}": unit for name in names}


# The name and the unit of every column of every matrix.
COLUMNS: Final = {
    "log_mel": _columns("ln power", "log_mel", range(N_MELS)),
    "mfcc": _columns("ln power", "mfcc", range(N_MFCC))
    | _columns("ln power / frame", "mfcc_delta", range(N_MFCC))
    | _columns("ln power / frame²", "mfcc_delta2", range(N_MFCC)),
    "chroma": _columns("share of the strongest", "chroma", NOTES),
    "spectral": {"centroid": "Hz", "bandwidth": "Hz", "rolloff_85": "Hz", "flatness": "0 tone … 1 noise"}
    | _columns("dB", "contrast", (f"{low}_{high}" for low, high in pairwise(CONTRAST_EDGES_HZ))),
    "voice": {
        "zero_crossings": "per sample",
        "rms": "full scale",
        "f0": "Hz",
        "voicing": "0 aperiodic … 1 periodic",
    },
}
_SETTINGS: Final = {
    "sample_rate": SAMPLE_RATE,
    "hop_samples": HOP,
    "frame_samples": N_FFT,
    "pitch_frame_samples": PITCH_FRAME,
    "matrices": COLUMNS,
}


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """The matrices of a prepared dataset, memory-mapped."""

    matrices: Mapping[str, FloatArray]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def open(cls, dataset: PreparedDataset, *, verify: bool = False) -> "Features":
        """Map the matrices of `dataset`, if they were made from it and with these settings."""
        folder = dataset.folder / "features"
        manifest = files.read_sealed_folder(folder, schema=SCHEMA, verify=verify)
        if manifest["key"] != _key(dataset):
            raise CorpusError(
                f"{folder} was made from other clips or settings. Prepare it again with --features."
            )
        load = partial(np.load, mmap_mode="r", allow_pickle=False)
        try:
            matrices = {name: load(folder / f"{name}.npy") for name in COLUMNS}
            return cls(matrices, load(folder / "offsets.npy"))
        except (OSError, ValueError) as error:
            raise CorpusError(f"{folder} is damaged ({error}). Prepare it again with --features.") from error

    def clip(self, i: int) -> FloatArray:
        """Every column of clip `i`, (n_frames, n_columns), in the order of `COLUMNS`."""
        rows = slice(self.offsets[i], self.offsets[i + 1])
        return np.concatenate([self.matrices[name][rows] for name in COLUMNS], axis=1)


def prepare_features(
    dataset: PreparedDataset, *, workers: int | None = None, progress: Progress | None = None
) -> Features:
    """Write the matrices of `dataset` into its folder, unless they are there."""
    folder = dataset.folder / "features"
    with files.writing(folder, CorpusError):
        if not _is_done(dataset):
            with files.locked(dataset.folder):
                if not _is_done(dataset):
                    _make(dataset, folder, workers, progress)
    return Features.open(dataset)


def _is_done(dataset: PreparedDataset) -> bool:
    try:
        Features.open(dataset, verify=True)
    except CorpusError:
        return False
    return True


def _key(dataset: PreparedDataset) -> str:
    return files.digest([SCHEMA, _SETTINGS, dataset.key])


def _make(dataset: PreparedDataset, folder: Path, workers: int | None, progress: Progress | None) -> None:
    working = files.empty_folder(files.working_folder(dataset.folder))
    whole = files.empty_folder(working / "whole")
    starts = range(0, len(dataset), CLIPS_PER_PART)
    tasks = [range(start, min(start + CLIPS_PER_PART, len(dataset))) for start in starts]
    clips: dict[int, dict[str, FloatArray]] = {}
    for part in in_parallel(partial(_part, dataset), tasks, workers):
        clips |= part
        if progress:
            progress(len(clips), len(dataset))
    for name in COLUMNS:
        np.save(whole / f"{name}.npy", np.concatenate([clips[i][name] for i in range(len(dataset))]))
    n_frames = [len(clips[i]["voice"]) for i in range(len(dataset))]
    np.save(whole / "offsets.npy", np.cumsum([0, *n_frames], dtype=np.int64))
    settings = json.dumps(_SETTINGS, indent=1, ensure_ascii=False)
    files.write_atomically(whole / "features.json", settings.encode())
    facts = {"schema": SCHEMA, "corpus": dataset.corpus, "corpus_hash": dataset.corpus_hash}
    files.seal_folder(whole, facts | {"key": _key(dataset)})
    shutil.rmtree(folder, ignore_errors=True)  # of other clips or settings, or damaged
    files.put_in_place(whole, folder)
    shutil.rmtree(working)


def _part(dataset: PreparedDataset, clips: range) -> dict[int, dict[str, FloatArray]]:
    """The matrices of some clips, on one thread: a clip is too short to share."""
    with one_thread():
        return {i: clip_features(dataset.waveform(i)) for i in clips}


# One clip


def clip_features(samples: FloatArray) -> dict[str, FloatArray]:
    """Every matrix (n_frames, n_columns) of one clip (n_samples,); CorpusError if it is shorter than one frame."""
    if len(samples) < N_FFT:
        raise CorpusError(
            f"A clip of {len(samples)} samples has no features: at least {N_FFT} are needed. Leave it out."
        )
    log_mel_of, mfcc_of = _front_end()
    with torch.inference_mode():
        waveform = torch.from_numpy(np.ascontiguousarray(samples)).unsqueeze(0)
        power = log_mel_of.spectrum(waveform)[0].numpy()  # (n_bins, n_frames)
        log_mel = log_mel_of(waveform)
        mfcc = mfcc_of(log_mel)[0].numpy()
    feature, spectrum = _librosa().feature, {"S": np.sqrt(power), "sr": SAMPLE_RATE}
    delta = partial(feature.delta, mode="nearest")
    axis = {"frame_length": N_FFT, "hop_length": HOP, "center": False}
    rows = {
        "log_mel": [log_mel[0].numpy()],
        "mfcc": [mfcc, delta(mfcc), delta(mfcc, order=2)],
        "chroma": [feature.chroma_stft(S=power, sr=SAMPLE_RATE, tuning=0.0)],
        "spectral": [
            feature.spectral_centroid(**spectrum),
            feature.spectral_bandwidth(**spectrum),
            feature.spectral_rolloff(**spectrum),
            feature.spectral_flatness(S=spectrum["S"]),
            feature.spectral_contrast(**spectrum),
        ],
        "voice": [
            feature.zero_crossing_rate(samples, **axis),
            feature.rms(y=samples, **axis),
            pitch(samples),
        ],
    }
    matrices = {name: np.concatenate(parts) for name, parts in rows.items()}
    return {name: np.ascontiguousarray(matrix.T, dtype=np.float32) for name, matrix in matrices.items()}


@cache
def _front_end() -> tuple[LogMel, Mfcc]:
    return LogMel(n_mels=N_MELS, n_fft=N_FFT, hop=HOP).eval(), Mfcc(n_mfcc=N_MFCC, n_mels=N_MELS).eval()


@cache
def _librosa() -> ModuleType:
    """librosa, compiled. Where two processes compile it at once, numba keeps code that crashes every later one."""
    librosa = require("librosa", extra="train", needed_for="Computing features")
    noise = np.random.default_rng(0).standard_normal(2 * PITCH_FRAME, np.float32)
    axis = {"hop_length": HOP, "center": False}
    user = getattr(os, "getuid", int)()  # Windows has a temporary folder for each user
    with files.locked(Path(tempfile.gettempdir()) / f"speech-emotion-librosa-{user}"):
        librosa.yin(
            noise, fmin=PITCH_HZ[0], fmax=PITCH_HZ[1], sr=SAMPLE_RATE, frame_length=PITCH_FRAME, **axis
        )
        librosa.feature.zero_crossing_rate(noise, frame_length=N_FFT, **axis)
    return librosa


def pitch(samples: FloatArray) -> npt.NDArray[np.float64]:
    """F0 in Hz by YIN (de Cheveigné & Kawahara 2002) and voicing from 0 to 1: (n_samples,) → (2, n_frames).

    The pitch frames share their centres with the other frames; the clip is mirrored at both ends for them. Every frame
    has an F0; voicing, the correlation of the frame with itself one period later, says whether it means anything.
    """
    padded = np.pad(samples, (PITCH_FRAME - N_FFT) // 2, mode="reflect")
    axis = {"frame_length": PITCH_FRAME, "hop_length": HOP, "center": False}
    f0 = _librosa().yin(padded, fmin=PITCH_HZ[0], fmax=PITCH_HZ[1], sr=SAMPLE_RATE, **axis)
    frames = sliding_window_view(padded, PITCH_FRAME)[::HOP].astype(np.float64)
    return np.stack([f0, [_periodicity(*pair) for pair in zip(frames, SAMPLE_RATE / f0, strict=True)]])


def _periodicity(frame: npt.NDArray[np.float64], period: float) -> float:
    """Correlation, 0 to 1, of `frame` (n_samples,) with itself `period` samples later."""
    lag = round(period)
    earlier, later = frame[:-lag], frame[lag:]
    energy = np.sqrt((earlier @ earlier) * (later @ later))
    return float(np.clip(earlier @ later / np.maximum(energy, SMALLEST_ENERGY), 0, 1))
