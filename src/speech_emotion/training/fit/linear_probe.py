"""Linear probing (Alain & Bengio 2016, arXiv 1610.01644): a frozen encoder with a linear head.

In: a job and the embeddings of its augmented clips. Out: a checkpoint in its folder. The head is multinomial logistic
regression over standardised embeddings.
"""

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from speech_emotion.training.config import TrainConfig
from speech_emotion.training.data.embeddings import AugmentedEmbeddings
from speech_emotion.training.data.mixture import Shares
from speech_emotion.training.fit.job import Fitted, Job
from speech_emotion.training.fit.logistic import fit_logistic, fit_many
from speech_emotion.training.fit.loop import smooth
from speech_emotion.training.fit.validation import conclude
from speech_emotion.training.networks.base import EmotionNetwork
from speech_emotion.training.networks.build import build
from speech_emotion.training.weights import initialise

EPSILON = 1e-5  # of the batch normalisation that standardises


def probe(job: Job, augmented: AugmentedEmbeddings) -> Fitted:
    """Fit the head, which is logged as one epoch."""
    started = time.perf_counter()
    network = build(job.config, job.dataset.label_names)
    facts = initialise(network, job.config.init)
    rows, clips = augmented.rows(job.sides.train)
    labels = torch.from_numpy(np.array(job.dataset.labels, dtype=np.int64))[clips]
    shares = job.shares.rows(clips) if job.shares else None
    loss = fit_head(network, rows, labels, job.config, shares)
    return conclude(job, network, round(loss, 5), (facts,) if facts else (), started)


def fit_head(
    network: EmotionNetwork, rows: Tensor, labels: Tensor, config: TrainConfig, shares: Shares | None = None
) -> float:
    """Give `network` the best head for embeddings (n, n_embedding) and label indices (n,); returns its loss.

    The head's batch normalisation holds the mean and variance of the rows, weighted by their `shares`.
    """
    mean = shares.weight @ rows if shares else rows.mean(dim=0)
    variance = shares.weight @ (rows - mean).square() if shares else rows.var(dim=0)
    standard = (rows - mean) / (variance + EPSILON).sqrt()
    targets = shares or smooth(labels, len(network.labels), config.fit.label_smoothing)
    start = (torch.zeros(len(network.labels), rows.shape[1]), torch.zeros(len(network.labels)))
    weight, bias, loss = fit_logistic(standard, targets, start, config.probe.penalty)
    set_head(network, (mean, variance), (weight, bias))
    return loss


def fit_heads(
    networks: Sequence[EmotionNetwork], rows: Tensor, shares: Sequence[Shares], config: TrainConfig
) -> None:
    """Give every network the best head for the rows as its `shares` weigh them; that of `fit_head`, found together."""
    weights = torch.stack([one.weight for one in shares])  # (n_networks, n)
    centre = rows.mean(dim=0)
    rows = rows - centre
    mean = weights @ rows
    variance = weights @ rows.square() - mean.square()
    units = mean, (variance + EPSILON).sqrt()
    found = zip(*fit_many(rows, shares, units, config.probe.penalty), strict=True)
    for network, own_mean, own_variance, head in zip(networks, mean + centre, variance, found, strict=True):
        set_head(network, (own_mean, own_variance), head)


def set_head(network: EmotionNetwork, units: tuple[Tensor, Tensor], head: tuple[Tensor, Tensor]) -> None:
    """units: mean and variance (n_embedding,) by which the head standardises; head: weight and bias after that."""
    norm, _, linear = network.head
    mean, variance = units
    state = {"weight": torch.ones_like(mean), "bias": torch.zeros_like(mean)}
    norm.load_state_dict(state | {"running_mean": mean, "running_var": variance}, strict=False)
    linear.load_state_dict({"weight": head[0], "bias": head[1]})
