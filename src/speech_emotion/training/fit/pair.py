"""Two trained networks as one. In: a job whose parts have been trained. Out: a checkpoint of the pair in its folder."""

import time
from collections.abc import Sequence

from speech_emotion.training.fit.checkpoint import final_weights
from speech_emotion.training.fit.job import Fitted, Job
from speech_emotion.training.fit.validation import conclude
from speech_emotion.training.networks.build import assemble


def join(job: Job, fitted: Sequence[Fitted]) -> Fitted:
    """Put the networks in the folders of `job.parts` together; `fitted` is what is known of each."""
    started = time.perf_counter()
    pair = assemble(job.config, job.dataset.label_names)
    for part, network in zip(job.parts, pair.children(), strict=True):
        network.load_state_dict(final_weights(part.folder))
    initial_weights = [facts for one in fitted for facts in one.initial_weights]
    return conclude(job, pair, None, tuple(initial_weights), started)
