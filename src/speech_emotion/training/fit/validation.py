"""Validation. In: a network and the clips of speakers that it does not learn from. Out: scores, and a calibration."""

import time
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from speech_emotion.evaluation.metrics import FloatArray, uar
from speech_emotion.training.data.frames import windows_of
from speech_emotion.training.fit import calibration
from speech_emotion.training.fit.job import Epoch, Fitted, Job
from speech_emotion.training.networks.base import half_precision
from speech_emotion.training.networks.pair import Network
from speech_emotion.training.networks.quantize import round_weights

BATCH = 64


class ValidationSet:
    """The validation clips of a job, as the windows that a user would get."""

    def __init__(self, job: Job) -> None:
        dataset, window = job.dataset, job.config.window
        windows = {clip: windows_of(dataset.waveform(clip), window) for clip in job.sides.validation.tolist()}
        scored = [clip for clip in windows if windows[clip]]  # a clip shorter than min_seconds has none
        self.labels = np.asarray(dataset.labels)[scored]
        self.n_speakers = len(set(np.asarray(dataset.speakers)[scored]))
        by_length: dict[int, list[tuple[int, npt.NDArray[np.float32]]]] = {}
        for recording, clip in enumerate(scored):
            for samples in windows[clip]:
                by_length.setdefault(len(samples), []).append((recording, samples))
        groups = by_length.values()
        self.recordings = np.array([recording for group in groups for recording, _ in group], dtype=np.int64)
        self.waveforms = [torch.from_numpy(np.stack([samples for _, samples in group])) for group in groups]

    @torch.inference_mode()
    def logits(self, network: Network, *, half: bool = False) -> FloatArray:
        """(n_windows, n_labels), uncalibrated; `half`: in half precision where the processor has it."""
        device = next(network.parameters()).device
        batches = (batch for waveforms in self.waveforms for batch in torch.split(waveforms, BATCH))
        with half_precision(device.type) if half else nullcontext():
            found = [network(batch.to(device)).float().cpu() for batch in batches]
        return torch.cat(found or [torch.zeros(0, len(network.labels))]).double().numpy()

    def score(self, logits: FloatArray) -> tuple[float | None, float | None]:
        """UAR in percent and mean negative log-likelihood, uncalibrated; None without validation clips."""
        if not len(self.labels):
            return None, None
        probabilities = calibration.pooled(logits, self.recordings, 1.0)
        spoken = probabilities[np.arange(len(self.labels)), self.labels]
        score = 100 * uar(self.labels, probabilities.argmax(axis=1))
        return round(score, 3), round(float(-np.log(np.maximum(spoken, 1e-12)).mean()), 5)

    def calibrate(self, logits: FloatArray) -> tuple[float, dict[str, Any]]:
        """The temperature, and what the thresholds and a model of all speakers are calibrated with."""
        if not len(self.labels):
            return 1.0, {"scores": [], "confidences": [], "likeliest_temperature": 1.0}
        fit = partial(calibration.fit_temperature, logits, self.recordings, self.labels)
        temperature = fit(n_speakers=self.n_speakers)
        found = calibration.evidence(calibration.pooled(logits, self.recordings, temperature), self.labels)
        return temperature, {**found, "likeliest_temperature": fit()}


def conclude(
    job: Job,
    network: Network,
    loss: float | None,
    initial_weights: tuple[dict[str, Any], ...],
    started: float,
) -> Fitted:
    """Validate, log and save a network whose training is one step, begun at perf_counter() `started`."""
    network.eval()
    round_weights(network)  # as its file will hold them
    validation = ValidationSet(job)
    logits = validation.logits(network)
    scores = validation.score(logits)
    line = Epoch(1, 1, loss, *scores, 0.0, round(time.perf_counter() - started, 2))
    job.save({f"average.{name}": tensor for name, tensor in network.state_dict().items()}, [line.row()])
    job.on_epoch(line)
    return Fitted(*validation.calibrate(logits), initial_weights)
