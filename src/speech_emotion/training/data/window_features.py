"""Features of the windows that a user would get. In: a network and a dataset. Out: a row per window.

Of every corpus beside the divided one, MAX_CLIPS evenly spaced clips stand for all: their windows serve calibration and
profiles alone. The features of a frozen network are the same in every training, so they are kept beside the prepared
dataset.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.files import DamagedFileError, digest, locked
from speech_emotion.parallel import in_parallel, processes_for
from speech_emotion.training.config import TrainConfig, WindowConfig
from speech_emotion.training.data.embeddings import weights_digest
from speech_emotion.training.data.frames import windows_of
from speech_emotion.training.data.mixture import Dataset, parts_of
from speech_emotion.training.networks.base import half_precision, one_thread
from speech_emotion.training.networks.pair import EmotionPair, Network
from speech_emotion.training.sealed_tensors import read_sealed_tensors, write_sealed_tensors

SCHEMA: Final = 1  # raise it whenever the code computes other features from the same settings
MAX_CLIPS: Final = 600
MIN_CLIPS: Final = 300  # of a process
CLIPS_PER_TASK: Final = 64
NEUTRAL: Final = ("neutral", "calm")

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


def voice_features(embedding: Tensor, log_mel: Tensor) -> Tensor:
    """The features of a profile: (batch, n_embedding), (batch, n_mels, n_frames) → (batch, n_features).

    The embedding of a window has no levels; mean and deviation of the log-mel add them. Loudness means something as
    soon as the speaker is known.
    """
    mean = log_mel.mean(dim=2)
    variance = (log_mel - mean.unsqueeze(2)).square().mean(dim=2)
    return torch.cat([embedding, mean, (variance + 1e-5).sqrt()], dim=1)


@dataclass(frozen=True, eq=False)
class WindowFeatures:
    """The features of the windows of some clips. clip: of each window, the index into what is per clip."""

    features: FloatArray  # (n_windows, n_features)
    clip: IntArray  # (n_windows,)
    seconds: FloatArray  # (n_clips,)
    labels: IntArray  # (n_clips,)
    speakers: npt.NDArray[np.str_]  # (n_clips,)
    is_neutral: npt.NDArray[np.bool_]  # (n_clips,), whether the clip's label is one of NEUTRAL

    def of(self, clips: IntArray) -> "WindowFeatures":
        """Those of some clips, renumbered."""
        place = np.full(len(self.labels), -1)
        place[clips] = np.arange(len(clips))
        is_kept = place[self.clip] >= 0
        facts = (self.seconds[clips], self.labels[clips], self.speakers[clips], self.is_neutral[clips])
        return WindowFeatures(self.features[is_kept], place[self.clip][is_kept], *facts)


def window_features(network: Network, config: TrainConfig, dataset: Dataset) -> WindowFeatures:
    """The features of every window of the clips of `dataset` that are analysed."""
    parts = parts_of(dataset)
    rows = [_kept(network, config, part, _chosen(part, index)) for index, part in enumerate(parts)]
    starts = np.cumsum([0, *(len(part) for part in parts)])
    clip = np.concatenate([own + start for (_, own), start in zip(rows, starts, strict=False)])
    seconds = np.array([dataset.seconds(index) for index in range(len(dataset))], np.float32)
    labels = np.asarray(dataset.labels)
    is_neutral = np.isin(np.array(dataset.label_names)[labels], NEUTRAL)
    features = np.concatenate([features for features, _ in rows]) if len(rows) > 1 else rows[0][0]
    return WindowFeatures(features, clip, seconds, labels, np.asarray(dataset.speakers), is_neutral)


def _chosen(part: PreparedDataset, index: int) -> IntArray:
    n_clips = min(len(part), MAX_CLIPS) if index else len(part)
    return np.linspace(0, len(part) - 1, n_clips).astype(np.int64)


def _kept(
    network: Network, config: TrainConfig, part: PreparedDataset, clips: IntArray
) -> tuple[FloatArray, IntArray]:
    """The features of `_rows`; those of a frozen network are read from beside the dataset if they are there."""
    if not config.is_frozen:
        return _rows(network, config.window, part, clips)
    if isinstance(network, EmotionPair):
        return _kept_of_pair(network, config, part, clips)
    settings = config.to_dict()
    facts = [SCHEMA, *(settings[key] for key in ("window", "frontend", "network")), part.key]
    facts += [len(clips)] if len(clips) < len(part) else []
    key = digest([*facts, weights_digest(network)])[:16]
    path = part.folder.parent / f"{part.corpus}-windows-{key}.safetensors"
    with locked(path):
        try:
            tensors = read_sealed_tensors(path)[0]
        except (OSError, DamagedFileError):
            features, clip = _rows(network, config.window, part, clips, half=True)
            tensors = {"features": torch.from_numpy(features), "clip": torch.from_numpy(clip)}
            write_sealed_tensors(path, tensors, {})
        return tensors["features"].numpy(), tensors["clip"].numpy()


def _kept_of_pair(
    pair: EmotionPair, config: TrainConfig, part: PreparedDataset, clips: IntArray
) -> tuple[FloatArray, IntArray]:
    (first, clip), (second, _) = (
        _kept(network, own, part, clips)
        for network, own in zip((pair.first, pair.second), config.parts, strict=True)
    )
    embedding, levels = np.split(first, [pair.first.n_embedding], axis=1)
    return np.hstack([embedding, second[:, : pair.second.n_embedding], levels]), clip


def _rows(
    network: Network, window: WindowConfig, part: PreparedDataset, clips: IntArray, *, half: bool = False
) -> tuple[FloatArray, IntArray]:
    """(n_windows, n_features), and of each window the index of its clip; `half`: computed in half precision."""
    function = partial(_rows_of, network, window, part, half)
    tasks = [clips[start : start + CLIPS_PER_TASK].tolist() for start in range(0, len(clips), CLIPS_PER_TASK)]
    found = in_parallel(function, tasks, processes_for(len(clips), MIN_CLIPS))
    rows = sorted((row for some in found for row in some), key=lambda row: row[:2])
    return np.stack([features for _, _, features in rows]), np.array([clip for clip, _, _ in rows], np.int64)


@torch.inference_mode()
def _rows_of(
    network: Network, window: WindowConfig, part: PreparedDataset, half: bool, clips: list[int]
) -> list[tuple[int, int, FloatArray]]:
    """Of some clips, on one thread: the index of the clip, the number of the window, its features."""
    rows = []
    with one_thread(), half_precision("cpu") if half else nullcontext():
        for clip in clips:
            for number, samples in enumerate(windows_of(part.waveform(clip), window)):
                analysed = network.analyse(torch.from_numpy(np.array(samples))[None])
                rows.append((clip, number, voice_features(*analysed)[0].float().numpy()))
    return rows
