"""The one place that decides how a recipe is trained. In: a recipe, a dataset, a folder. Out: a trained network there.

fine_tune       the whole network learns, from frames
linear_probe    a linear head on a frozen encoder, from embeddings of augmented clips
pair            two networks, each trained in one of these ways, then joined
"""

from collections.abc import Sequence

from speech_emotion.corpora.parallel import Progress
from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.data.embeddings import AugmentedEmbeddings
from speech_emotion.training.data.frames import FrameCache
from speech_emotion.training.fit import pair
from speech_emotion.training.fit.fine_tune import fine_tune
from speech_emotion.training.fit.job import Fitted, Job
from speech_emotion.training.fit.linear_probe import probe
from speech_emotion.training.fit.loop import keep_freed_memory
from speech_emotion.training.networks.build import build
from speech_emotion.training.weights import initialise

Material = FrameCache | AugmentedEmbeddings


def materials(
    config: TrainConfig, dataset: PreparedDataset, on_copy: Progress = lambda *_: None
) -> list[Material]:
    """What each network of a recipe learns from. Jobs that only differ in their sides share it."""
    keep_freed_memory()
    return [_material(part, dataset, on_copy) for part in config.parts]


def _material(config: TrainConfig, dataset: PreparedDataset, on_copy: Progress) -> Material:
    if not config.probe.copies:
        return FrameCache(config, dataset)
    encoder = build(config)
    initialise(encoder, config.init)
    return AugmentedEmbeddings.of(config, encoder, dataset, on_copy)


def fit(job: Job, learned_from: Sequence[Material]) -> Fitted:
    """Train to the end, from the folder's checkpoint if there is one; `learned_from` are the recipe's `materials`."""
    keep_freed_memory()
    fitted = [_fit_one(part, material) for part, material in zip(job.parts, learned_from, strict=True)]
    return pair.join(job, fitted) if job.config.second else fitted[0]


def _fit_one(job: Job, material: Material) -> Fitted:
    return fine_tune(job, material) if isinstance(material, FrameCache) else probe(job, material)
