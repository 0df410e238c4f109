"""Fine-tuning: the whole network learns, epoch by epoch. In: a job and its frames. Out: a checkpoint in its folder.

Validated and exported is a moving average of the weights. Everything random comes from (seed, epoch) or the clip: a
run that was killed and resumed ends, on one machine, with the weights of one that was not.
"""

import time

import torch

from speech_emotion.training.data.frames import FrameCache
from speech_emotion.training.fit.job import Epoch, Fitted, Job
from speech_emotion.training.fit.loop import Trainer
from speech_emotion.training.fit.validation import ValidationSet
from speech_emotion.training.networks.build import build
from speech_emotion.training.networks.quantize import round_weights
from speech_emotion.training.weights import initialise


def fine_tune(job: Job, frames: FrameCache) -> Fitted:
    """Train to the end, from the folder's checkpoint if there is one."""
    config, n_epochs = job.config, job.config.fit.epochs
    network = build(config, job.dataset.label_names)
    facts = initialise(network, config.init)
    trainer = Trainer(network, config, frames, torch.from_numpy(job.sides.train), torch.device(job.device))
    validation = ValidationSet(job)
    tensors, log = job.resume()
    if log:
        trainer.restore(tensors)
    for epoch in range(len(log), n_epochs):
        started = time.perf_counter()
        loss = round(trainer.run_epoch(epoch), 5)
        scores = validation.score(validation.logits(trainer.average, half=True))
        seconds = round(time.perf_counter() - started, 2)
        line = Epoch(epoch + 1, n_epochs, loss, *scores, trainer.learning_rate, seconds)
        log.append(line.row())
        job.save(trainer.tensors(), log)
        job.on_epoch(line)
    round_weights(trainer.average)  # as its file will hold them
    logits = validation.logits(trainer.average)
    return Fitted(*validation.calibrate(logits), (facts,) if facts else ())
