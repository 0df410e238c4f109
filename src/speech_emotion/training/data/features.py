"""The prepared dataset → feature matrices, for fast classical models and for looking at voices.

    features/log_mel.npy    (n_frames, 64)  float32   what a network hears, in frames of N_FFT
    features/mfcc.npy       (n_frames, 60)  float32   20 coefficients, their deltas, their delta-deltas
    features/chroma.npy     (n_frames, 12)  float32   pitch classes
    features/spectral.npy   (n_frames, 11)  float32   centroid, bandwidth, rolloff, flatness, contrast
    features/voice.npy      (n_frames, 4)   float32   zero crossings, RMS, F0, voicing
    features/offsets.npy    (n_clips + 1,)  int64     clip i is rows offsets[i] : offsets[i + 1]
    features/features.json                            the frame axis, and every column with its unit
    features/manifest.json                            sizes and sha256 (see files.py)

All matrices share one frame axis, the front end's: frame t is samples 320 t to 320 t + 512, and nothing is padded.
The definitions are librosa's, which is the oracle of the tests; it is not needed here.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib.stride_tricks import sliding_window_view

from speech_emotion import files
from speech_emotion.audio import SAMPLE_RATE
from speech_emotion.corpora.parallel import Progress, in_parallel
from speech_emotion.corpora.prepare import PreparedDataset, join
from speech_emotion.errors import CorpusError
from speech_emotion.training.networks.frontend import LogMel, Mfcc

FloatArray = npt.NDArray[np.float32]

SCHEMA: Final = 1
N_FFT: Final = 512
HOP: Final = 320
N_MELS: Final = 64
N_MFCC: Final = 20
CLIPS_PER_PART: Final = 32

PITCH_FRAME: Final = 1024  # 64 ms: four periods of the lowest voice
PITCH_HZ: Final = (60.0, 600.0)
YIN_THRESHOLD: Final = 0.1
ROLLOFF: Final = 0.85
CONTRAST_EDGES_HZ: Final = (0, 200, 400, 800, 1600, 3200, 6400, SAMPLE_RATE // 2)
CONTRAST_SHARE: Final = 0.02
NOTES: Final = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
DELTA_REACH: Final = 4  # frames to each side
SMALLEST_POWER: Final = 1e-10


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    unit: str


def _columns(count: int, name: str, unit: str) -> tuple[Column, ...]:
    return tuple(Column(name.format(i), unit) for i in range(count))


COLUMNS: Final = {
    "log_mel": _columns(N_MELS, "log_mel_{}", "ln power"),
    "mfcc": _columns(N_MFCC, "mfcc_{}", "ln power")
    + _columns(N_MFCC, "mfcc_delta_{}", "ln power / frame")
    + _columns(N_MFCC, "mfcc_delta2_{}", "ln power / frame²"),
    "chroma": tuple(Column(f"chroma_{note}", "share of the strongest") for note in NOTES),
    "spectral": (
        Column("centroid", "Hz"),
        Column("bandwidth", "Hz"),
        Column("rolloff_85", "Hz"),
        Column("flatness", "0 tone … 1 noise"),
        *(Column(f"contrast_{low}_{high}", "dB") for low, high in pairwise(CONTRAST_EDGES_HZ)),
    ),
    "voice": (
        Column("zero_crossings", "per sample"),
        Column("rms", "full scale"),
        Column("f0", "Hz"),
        Column("voicing", "0 aperiodic … 1 periodic"),
    ),
}
_SETTINGS: Final = {
    "sample_rate": SAMPLE_RATE,
    "hop_samples": HOP,
    "frame_samples": N_FFT,
    "pitch_frame_samples": PITCH_FRAME,
    "matrices": {name: [asdict(column) for column in columns] for name, columns in COLUMNS.items()},
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
    tasks = [
        _Part(
            dataset.folder, working / f"{start:06d}", range(start, min(start + CLIPS_PER_PART, len(dataset)))
        )
        for start in range(0, len(dataset), CLIPS_PER_PART)
    ]
    n_frames = np.zeros(len(dataset), np.int64)
    n_done = 0
    for part, counts in in_parallel(_write_part, tasks, workers):
        n_frames[part.clips] = counts
        n_done += len(counts)
        if progress:
            progress(n_done, len(dataset))
    for name, columns in COLUMNS.items():
        parts = [part.file(name) for part in tasks]
        join(parts, whole / f"{name}.npy", dtype="<f4", shape=(int(n_frames.sum()), len(columns)))
    np.save(whole / "offsets.npy", np.cumsum([0, *n_frames], dtype=np.int64))
    files.write_atomically(
        whole / "features.json", json.dumps(_SETTINGS, indent=1, ensure_ascii=False).encode()
    )
    facts = {
        "schema": SCHEMA,
        "corpus": dataset.corpus,
        "corpus_hash": dataset.corpus_hash,
        "key": _key(dataset),
    }
    files.seal_folder(whole, facts)
    shutil.rmtree(folder, ignore_errors=True)  # of other clips or settings, or damaged
    files.put_in_place(whole, folder)
    shutil.rmtree(working)


@dataclass(frozen=True, slots=True)
class _Part:
    """The clips that a worker takes at once, and the raw files it writes, one a matrix."""

    dataset: Path
    stem: Path
    clips: range

    def file(self, matrix: str) -> Path:
        return self.stem.with_suffix(f".{matrix}")


def _write_part(part: _Part) -> tuple[_Part, list[int]]:
    """Write the matrices of these clips; the number of frames of each."""
    dataset = PreparedDataset.open(part.dataset)
    with _one_thread():
        clips = [clip_features(dataset.waveform(i)) for i in part.clips]
    for name in COLUMNS:
        part.file(name).write_bytes(b"".join(matrices[name].tobytes() for matrices in clips))
    return part, [len(matrices["voice"]) for matrices in clips]


@contextmanager
def _one_thread() -> Iterator[None]:
    """A clip is too short to share, and threads of several workers wait for one another."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


# One clip


def clip_features(samples: FloatArray) -> dict[str, FloatArray]:
    """Every matrix of one clip, (n_frames, n_columns) each; `samples` are 16 kHz and at least 64 ms."""
    if len(samples) < PITCH_FRAME:
        raise CorpusError(
            f"A clip of {len(samples)} samples has no features: {PITCH_FRAME} is the least. Leave it out."
        )
    log_mel_of, mfcc_of = _front_end()
    with torch.inference_mode():
        waveform = torch.from_numpy(np.ascontiguousarray(samples)).unsqueeze(0)
        power = log_mel_of.spectrum(waveform)[0].numpy().astype(np.float64)  # (bin, frame)
        log_mel = log_mel_of(waveform)
        mfcc = mfcc_of(log_mel)[0].numpy()
    matrices = {
        "log_mel": log_mel[0].numpy(),
        "mfcc": np.concatenate([mfcc, delta(mfcc), delta(mfcc, order=2)], axis=0),
        "chroma": chroma(power),
        "spectral": np.concatenate([spectral_shape(power), contrast(power)], axis=0),
        "voice": np.concatenate([levels(samples), pitch(samples)], axis=0),
    }
    return {name: np.ascontiguousarray(matrix.T, dtype=np.float32) for name, matrix in matrices.items()}


@cache
def _front_end() -> tuple[LogMel, Mfcc]:
    return LogMel(n_mels=N_MELS, n_fft=N_FFT, hop=HOP).eval(), Mfcc(n_mfcc=N_MFCC, n_mels=N_MELS).eval()


def delta(values: npt.NDArray[Any], *, order: int = 1) -> npt.NDArray[Any]:
    """Slope (order 1) or curvature (order 2) along the frames, by least squares over nine; edges are repeated."""
    k = np.arange(-DELTA_REACH, DELTA_REACH + 1.0)
    weights = k / np.sum(k**2, axis=0)
    if order == 2:
        bend = k**2 - np.mean(k**2, axis=0)
        weights = 2 * bend / np.sum(bend**2, axis=0)
    padded = np.pad(values, ((0, 0), (DELTA_REACH, DELTA_REACH)), mode="edge")
    return np.asarray(sliding_window_view(padded, len(k), axis=1) @ weights)


def chroma(power: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(12, n_frames): power by pitch class, C first, relative to the strongest of the frame."""
    classes = _chroma_filters() @ power
    return np.asarray(classes / np.maximum(classes.max(axis=0), np.finfo(np.float32).tiny))


@cache
def _chroma_filters() -> npt.NDArray[np.float64]:
    """(12, n_bins): Gaussians around each pitch class, weighted towards the octave of 880 Hz (Ellis 2007)."""
    hz = np.arange(1, N_FFT) * SAMPLE_RATE / N_FFT
    semitones = 12 * np.log2(hz / 27.5)  # above A0
    semitones = np.concatenate([[semitones[0] - 18], semitones])  # 0 Hz: an octave and a half below bin 1
    widths = np.append(np.maximum(np.diff(semitones), 1), 1)
    distances = np.remainder(semitones - np.arange(12)[:, None] + 6, 12) - 6
    filters = np.exp(-0.5 * (2 * distances / widths) ** 2)
    filters /= np.linalg.norm(filters, axis=0)
    filters *= np.exp(-0.5 * ((semitones / 12 - 5) / 2) ** 2)
    return np.asarray(np.roll(filters, -3, axis=0)[:, : 1 + N_FFT // 2])


def spectral_shape(power: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(4, n_frames): centroid, bandwidth and rolloff of the magnitude in Hz; flatness of the power."""
    hz = np.arange(len(power))[:, None] * SAMPLE_RATE / N_FFT
    magnitude = np.sqrt(power)
    total = magnitude.sum(axis=0)
    share = magnitude / np.maximum(total, np.finfo(np.float32).tiny)
    centroid = np.sum(hz * share, axis=0)
    bandwidth = np.sqrt(np.sum((hz - centroid) ** 2 * share, axis=0))
    rolloff = hz[np.argmax(np.cumsum(magnitude, axis=0) >= ROLLOFF * total, axis=0), 0]
    floored = np.maximum(power, SMALLEST_POWER)
    flatness = np.exp(np.mean(np.log(floored), axis=0)) / np.mean(floored, axis=0)
    return np.stack([centroid, bandwidth, rolloff, flatness])


def contrast(power: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(7, n_frames): peaks over valleys in dB in each octave (Jiang et al. 2002).

    As librosa, but without its floor 80 dB below the loudest frame, which makes a frame depend on all others.
    """
    return np.stack([_peaks_over_valleys(np.sqrt(power[band]), n) for band, n in _contrast_bands()])


@cache
def _contrast_bands() -> tuple[tuple[slice, int], ...]:
    """The bins of each octave, and how many of them are its peaks and its valleys."""
    hz = np.arange(1 + N_FFT // 2) * SAMPLE_RATE / N_FFT
    bands = []
    for low, high in pairwise(CONTRAST_EDGES_HZ):
        inside = np.flatnonzero((hz >= low) & (hz <= high))
        start, stop = max(inside[0] - 1, 0), inside[-1] + 1
        n_extreme = max(1, round(CONTRAST_SHARE * (stop - start)))
        bands.append((slice(start, stop if high == SAMPLE_RATE // 2 else stop - 1), n_extreme))
    return tuple(bands)


def _peaks_over_valleys(magnitude: npt.NDArray[np.float64], n_extreme: int) -> npt.NDArray[np.float64]:
    ordered = np.sort(magnitude, axis=0)
    valley = np.mean(ordered[:n_extreme], axis=0)
    peak = np.mean(ordered[-n_extreme:], axis=0)
    ratio = np.maximum(peak, SMALLEST_POWER) / np.maximum(valley, SMALLEST_POWER)
    return np.asarray(10 * np.log10(ratio))


def levels(samples: FloatArray) -> npt.NDArray[np.float64]:
    """(2, n_frames): sign changes per sample, and the root of the mean square."""
    frames = sliding_window_view(samples, N_FFT)[::HOP].astype(np.float64)
    crossings = np.mean(np.diff(np.signbit(frames), axis=1, prepend=np.signbit(frames[:, :1])), axis=1)
    return np.stack([crossings, np.sqrt(np.mean(frames**2, axis=1))])


def pitch(samples: FloatArray) -> npt.NDArray[np.float64]:
    """(2, n_frames): F0 in Hz and voicing, by YIN (de Cheveigné & Kawahara 2002): 3 ms for a clip of 4 s.

    The longer frames share the centres of the others; at both ends they are shifted inwards instead of padded.
    Every frame has an F0: whether it means anything is what voicing says.
    """
    shortest, longest = round(SAMPLE_RATE / PITCH_HZ[1]), round(SAMPLE_RATE / PITCH_HZ[0])
    n_frames = 1 + (len(samples) - N_FFT) // HOP
    starts = np.arange(n_frames) * HOP - (PITCH_FRAME - N_FFT) // 2
    starts = np.clip(starts, 0, len(samples) - PITCH_FRAME)
    frames = sliding_window_view(samples, PITCH_FRAME)[starts].astype(np.float64)
    aperiodicity = _aperiodicity(frames, longest + 1)  # (frame, lag)
    lags = np.arange(shortest, longest + 1)
    before, here, after = (aperiodicity[:, lags + step] for step in (-1, 0, 1))
    is_good = (here < YIN_THRESHOLD) & (here <= before) & (here < after)
    chosen = np.where(is_good.any(axis=1), is_good.argmax(axis=1), here.argmin(axis=1))
    before, here, after = (
        np.take_along_axis(x, chosen[:, None], axis=1)[:, 0] for x in (before, here, after)
    )
    bend = before - 2 * here + after
    vertex = np.divide((before - after) / 2, bend, out=np.zeros_like(bend), where=bend > 0)
    return np.stack([SAMPLE_RATE / (lags[chosen] + np.clip(vertex, -0.5, 0.5)), np.clip(1 - here, 0, 1)])


def _aperiodicity(frames: npt.NDArray[np.float64], longest: int) -> npt.NDArray[np.float64]:
    """(n_frames, longest + 1): the squared difference of a frame and itself a lag later, over its mean to that lag."""
    n_frame = frames.shape[1]
    n_window = n_frame - longest  # what is compared: it fits the frame at every lag, so nothing wraps around
    spectrum = np.fft.rfft(frames, axis=1)
    of_window = np.fft.rfft(frames[:, :n_window], n_frame, axis=1)
    correlation = np.fft.irfft(of_window.conj() * spectrum, axis=1)[:, : longest + 1]
    energy = np.pad(np.cumsum(frames**2, axis=1), ((0, 0), (1, 0)))
    energy_later = energy[:, n_window : n_window + longest + 1] - energy[:, : longest + 1]
    difference = np.maximum(energy_later[:, :1] + energy_later - 2 * correlation, 0)
    lags = np.arange(1, longest + 1)
    mean = np.cumsum(difference[:, 1:], axis=1) / lags
    mean = np.pad(mean, ((0, 0), (1, 0)))
    return np.divide(difference, mean, out=np.ones_like(mean), where=mean > SMALLEST_POWER)
