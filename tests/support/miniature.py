"""A corpus of generated voices under RAVDESS names, and a recipe that learns it in seconds.

An emotion is how bright the voice is, an actor is its pitch: what is to be learned is simple, and known.
"""

import copy
import tempfile
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sounds import voice, wav

from speech_emotion.corpora.manifest import Clip
from speech_emotion.corpora.prepare import PreparedDataset, prepare
from speech_emotion.corpora.readers import ravdess
from speech_emotion.evaluation.splits import Fold, Protocol
from speech_emotion.labels import EMOTIONS
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.export.onnx import Provenance, export
from speech_emotion.training.fit.calibration import Calibration
from speech_emotion.training.networks.build import build
from speech_emotion.training.networks.cnn import Cnn

torch.set_num_threads(1)

FloatArray = npt.NDArray[np.float32]

RECIPE: dict[str, Any] = {
    "name": "tiny",
    "window": {"seconds": 1.0, "hop_seconds": 0.5},
    "frontend": {"n_mels": 32},
    "network": {"channels": [8, 8, 16, 16]},
    "augment": {"speeds": [0.9, 1.0], "tilt_db": 1.0, "frequency_mask": 4, "time_mask": 8},
    "fit": {"epochs": 2, "batch_size": 8, "ema_decay": 0.8, "learning_rate": 5e-3},
}


def recipe(**changes: Any) -> TrainConfig:
    """The miniature recipe; `recipe(fit={"epochs": 3}, name="other")` changes it."""
    settings = copy.deepcopy(RECIPE)
    for key, value in changes.items():
        settings[key] = settings.get(key, {}) | value if isinstance(value, dict) else value
    return TrainConfig.from_dict(settings)


def clips(actors: Iterable[int], emotions: Sequence[str] = EMOTIONS) -> list[Clip]:
    names = [
        f"03-01-{EMOTIONS.index(emotion) + 1:02d}-01-01-01-{actor:02d}.wav"
        for actor in actors
        for emotion in emotions
    ]
    parsed = [ravdess.parse(name) for name in names]
    return [Clip(name, p.emotion, p.actor, p.sex) for name, p in zip(names, parsed, strict=True)]


def sound(clip: Clip, seconds: float = 1.0) -> FloatArray:
    spoken = _voice(seconds, int(clip.speaker) % 6)
    brightness = 2 * EMOTIONS.index(clip.label) / (len(EMOTIONS) - 1) - 1
    bright = spoken - 0.95 * brightness * np.concatenate([[0], spoken[:-1]])
    loud: FloatArray = (0.4 * bright / np.abs(bright).max()).astype(np.float32)
    return loud


@cache
def _voice(seconds: float, kind: int) -> FloatArray:
    return voice(seconds, f0=100.0 + 25 * kind)


def write_corpus(folder: Path, of: Iterable[Clip]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for clip in of:
        (folder / clip.path).write_bytes(wav(sound(clip)))
    return folder


def dataset(
    of: Sequence[Clip],
    *,
    waveforms: Sequence[FloatArray] | None = None,
    corpus: str = "ravdess",
) -> PreparedDataset:
    """What `prepare` would give, in memory."""
    samples = [np.rint(w * 32768).astype(np.int16) for w in waveforms or [sound(clip) for clip in of]]
    return PreparedDataset(
        folder=Path("prepared"),
        corpus=corpus,
        corpus_hash="0" * 64,
        key="1" * 64,
        licence=ravdess.SPEECH.licence,
        citation=ravdess.SPEECH.citation,
        label_names=EMOTIONS,
        clips=list(of),
        labels=np.array([EMOTIONS.index(clip.label) for clip in of], np.int64),
        speakers=np.array([clip.speaker for clip in of]),
        offsets=np.cumsum([0, *map(len, samples)]).astype(np.int64),
        scales=np.full(len(of), 1 / 32768, np.float32),
        waveforms=np.concatenate(samples),
    )


def prepared(folder: Path, of: Sequence[Clip]) -> PreparedDataset:
    """The same on a disk, below `folder`, where other processes find it."""
    return prepare(ravdess.SPEECH, write_corpus(folder / "corpus", of), folder / "ravdess", workers=1)


def halves() -> Protocol:
    """Two folds over actors 01–04: one tested, one to validate on."""
    sides = [("01", "02"), ("02", "01")]
    folds = [
        Fold(k, frozenset({test}), frozenset({validation}), frozenset({"03", "04"}))
        for k, (test, validation) in enumerate(sides)
    ]
    return Protocol("halves", "ravdess", tuple(folds))


def lively_network() -> Cnn:
    """Untrained, but its answers differ clearly from sound to sound, as a trained network's do."""
    network = build(recipe())
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.momentum = 1.0  # the statistics of the batch that follows
    with torch.no_grad():
        network(torch.from_numpy(np.stack([sound(clip) for clip in clips(range(1, 7), EMOTIONS[::3])])))
    return network.eval()


PROVENANCE = Provenance(
    corpora=("ravdess",), licence="CC BY-NC-SA 4.0", citation="Author (2018)", commit="abc123"
)
TEMPERATURE = 1.3
CALIBRATION = Calibration(TEMPERATURE)


@cache
def exported() -> bytes:
    """The lively network as a model file: exporting takes 7 s, so it is done once for many tests."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.onnx"
        export(lively_network(), recipe(), CALIBRATION, PROVENANCE, path)
        return path.read_bytes()
