"""The one place that decides how a recipe is trained. In: a recipe, a dataset, a folder. Out: a trained network there.

fine_tune       the whole network learns, from frames
linear_probe    a linear head on a frozen encoder, from embeddings of augmented clips
a pair          two networks, each trained in one of these ways, then joined
"""

import time
from collections.abc import Sequence

from speech_emotion.parallel import Progress
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.data.embeddings import AugmentedEmbeddings
from speech_emotion.training.data.frames import FrameCache
from speech_emotion.training.data.mixture import Dataset, parts_of
from speech_emotion.training.fit.checkpoint import final_weights
from speech_emotion.training.fit.fine_tune import fine_tune
from speech_emotion.training.fit.job import Fitted, Job
from speech_emotion.training.fit.linear_probe import probe
from speech_emotion.training.fit.loop import keep_freed_memory
from speech_emotion.training.fit.validation import conclude
from speech_emotion.training.networks.build import assemble, build
from speech_emotion.training.weights import initialise

Material = FrameCache | AugmentedEmbeddings


def materials(config: TrainConfig, dataset: Dataset, on_copy: Progress = lambda *_: None) -> list[Material]:
    """What each network of a recipe learns from. Jobs that only differ in their sides share it."""
    keep_freed_memory()
    return [_material(part, dataset, on_copy) for part in config.parts]


def _material(config: TrainConfig, dataset: Dataset, on_copy: Progress) -> Material:
    if not config.probe.copies:
        return FrameCache(config, dataset)
    encoder = build(config, dataset.label_names)
    initialise(encoder, config.init)
    found = [AugmentedEmbeddings.of(config, encoder, part, on_copy) for part in parts_of(dataset)]
    return AugmentedEmbeddings.joined(found)


def fit(job: Job, learned_from: Sequence[Material]) -> Fitted:
    """Train to the end, from the folder's checkpoint if there is one; `learned_from` are the recipe's `materials`."""
    keep_freed_memory()
    fitted = [
        fine_tune(part, material) if isinstance(material, FrameCache) else probe(part, material)
        for part, material in zip(job.parts, learned_from, strict=True)
    ]
    return _joined(job, fitted) if job.config.second else fitted[0]


def _joined(job: Job, fitted: Sequence[Fitted]) -> Fitted:
    started = time.perf_counter()
    pair = assemble(job.config, job.dataset.label_names)
    for part, network in zip(job.parts, pair.children(), strict=True):
        network.load_state_dict(final_weights(part.folder))
    initial_weights = tuple(facts for one in fitted for facts in one.initial_weights)
    return conclude(job, pair, None, initial_weights, started)
