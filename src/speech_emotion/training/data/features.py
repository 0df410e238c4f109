"""Feature matrices of a prepared dataset, for classical models and for exploration.

    features/log_mel.npy    (n_frames, 64)  float32   the input of a network, in frames of N_FFT
    features/mfcc.npy       (n_frames, 60)  float32   20 coefficients, their deltas, their delta-deltas
    features/chroma.npy     (n_frames, 12)  float32   pitch classes
    features/spectral.npy   (n_frames, 11)  float32   centroid, bandwidth, rolloff, flatness, contrast
    features/voice.npy      (n_frames, 4)   float32   zero crossings, RMS, F0, voicing
    features/offsets.npy    (n_clips + 1,)  int64     clip i is rows offsets[i] : offsets[i + 1]
    features/features.json                            the frame axis, and every column with its unit
    features/manifest.json                            sizes and sha256 (see files.py)

All matrices share one frame axis: frame t is samples 320 t to 320 t + 512, without padding. Log-mel and MFCC come
from the front end of the networks; every other column is librosa's.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
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
from speech_emotion.corpora.parallel import Progress, in_parallel
from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.errors import CorpusError
from speech_emotion.extras import require
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


_INDEX: Final = tuple(map(str, range(max(N_MELS, N_MFCC))))
_BANDS: Final = tuple(f"{low}_{high}" for low, high in pairwise(CONTRAST_EDGES_HZ))


def _columns(prefix: str, names: Sequence[str], unit: str) -> dict[str, str]:
    return {f"{prefix}_{name}": unit for name in names}


# The name and the unit of every column of every matrix.
COLUMNS: Final = {
    "log_mel": _columns("log_mel", _INDEX[:N_MELS], "ln power"),
    "mfcc": _columns("mfcc", _INDEX[:N_MFCC], "ln power")
    | _columns("mfcc_delta", _INDEX[:N_MFCC], "ln power / frame")
    | _columns("mfcc_delta2", _INDEX[:N_MFCC], "ln power / frame²"),
    "chroma": _columns("chroma", NOTES, "share of the strongest"),
    "spectral": {"centroid": "Hz", "bandwidth": "Hz", "rolloff_85": "Hz", "flatness": "0 tone … 1 noise"}
    | _columns("contrast", _BANDS, "dB"),
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
    tasks = [(dataset.folder, range(s, min(s + CLIPS_PER_PART, len(dataset)))) for s in starts]
    clips: dict[int, dict[str, FloatArray]] = {}
    for part in in_parallel(_part, tasks, workers):
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


def _part(task: tuple[Path, range]) -> dict[int, dict[str, FloatArray]]:
    """The matrices of some clips of the dataset in a folder, on one thread: a clip is too short to share."""
    dataset = PreparedDataset.open(task[0])
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {i: clip_features(dataset.waveform(i)) for i in task[1]}
    finally:
        torch.set_num_threads(n_threads)


# One clip


def clip_features(samples: FloatArray) -> dict[str, FloatArray]:
    """Compute every matrix of one clip.

    Args:
        samples: (n_samples,) at 16 kHz, at least one frame (`N_FFT`).

    Returns:
        A matrix (n_frames, n_columns) for each key of `COLUMNS`.

    Raises:
        CorpusError: If the clip is shorter than one frame.
        MissingExtraError: If librosa is not installed.
    """
    if len(samples) < N_FFT:
        raise CorpusError(
            f"A clip of {len(samples)} samples has no features: at least {N_FFT} are needed. Leave it out."
        )
    log_mel_of, mfcc_of = _front_end()
    with torch.inference_mode():
        waveform = torch.from_numpy(np.ascontiguousarray(samples)).unsqueeze(0)
        power = log_mel_of.spectrum(waveform)[0].numpy()  # (bin, frame)
        log_mel = log_mel_of(waveform)
        mfcc = mfcc_of(log_mel)[0].numpy()
    delta = partial(_librosa().feature.delta, mode="nearest")
    matrices = {
        "log_mel": log_mel[0].numpy(),
        "mfcc": np.concatenate([mfcc, delta(mfcc), delta(mfcc, order=2)]),
        "chroma": _librosa().feature.chroma_stft(S=power, sr=SAMPLE_RATE, tuning=0.0),
        "spectral": _spectral(power),
        "voice": np.concatenate([_levels(samples), pitch(samples)]),
    }
    return {name: np.ascontiguousarray(matrix.T, dtype=np.float32) for name, matrix in matrices.items()}


@cache
def _front_end() -> tuple[LogMel, Mfcc]:
    return LogMel(n_mels=N_MELS, n_fft=N_FFT, hop=HOP).eval(), Mfcc(n_mfcc=N_MFCC, n_mels=N_MELS).eval()


def _librosa() -> ModuleType:
    return require("librosa", extra="train", needed_for="Computing features")


def _spectral(power: FloatArray) -> FloatArray:
    """Power (n_bins, n_frames) → (11, n_frames): the columns of "spectral"."""
    feature, magnitude = _librosa().feature, np.sqrt(power)
    shape = [
        feature.spectral_centroid(S=magnitude, sr=SAMPLE_RATE),
        feature.spectral_bandwidth(S=magnitude, sr=SAMPLE_RATE),
        feature.spectral_rolloff(S=magnitude, sr=SAMPLE_RATE),
        feature.spectral_flatness(S=magnitude),
    ]
    return np.concatenate([*shape, feature.spectral_contrast(S=magnitude, sr=SAMPLE_RATE)])


def _levels(samples: FloatArray) -> FloatArray:
    """(2, n_frames): sign changes per sample, and the root mean square."""
    feature, axis = _librosa().feature, {"frame_length": N_FFT, "hop_length": HOP, "center": False}
    return np.concatenate([feature.zero_crossing_rate(samples, **axis), feature.rms(y=samples, **axis)])


def pitch(samples: FloatArray) -> npt.NDArray[np.float64]:
    """F0 and voicing by YIN (de Cheveigné & Kawahara 2002).

    The pitch frames share their centres with the other frames; the clip is mirrored at both ends for them. Every frame
    has an F0; voicing, the correlation of the frame with itself one period later, says whether it means anything.

    Args:
        samples: (n_samples,) at 16 kHz, at least `N_FFT`.

    Returns:
        (2, n_frames): F0 in Hz, voicing from 0 to 1.
    """
    padded = np.pad(samples, (PITCH_FRAME - N_FFT) // 2, mode="reflect")
    low, high = PITCH_HZ
    f0 = _librosa().yin(
        padded,
        fmin=low,
        fmax=high,
        sr=SAMPLE_RATE,
        frame_length=PITCH_FRAME,
        hop_length=HOP,
        center=False,
    )
    frames = sliding_window_view(padded, PITCH_FRAME)[::HOP].astype(np.float64)
    return np.stack([f0, [_periodicity(*pair) for pair in zip(frames, SAMPLE_RATE / f0, strict=True)]])


def _periodicity(frame: npt.NDArray[np.float64], period: float) -> float:
    """Correlation, 0 to 1, of `frame` (n_samples,) with itself `period` samples later."""
    lag = round(period)
    earlier, later = frame[:-lag], frame[lag:]
    energy = np.sqrt((earlier @ earlier) * (later @ later))
    return float(np.clip(earlier @ later / np.maximum(energy, SMALLEST_ENERGY), 0, 1))
