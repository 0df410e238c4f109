"""Linear probing (Alain & Bengio 2016, arXiv 1610.01644): a frozen encoder with a linear head.

In: a job and the embeddings of its augmented clips. Out: a checkpoint in its folder. The head is multinomial logistic
regression over standardised embeddings. Of a mixture it may be two of these, and a gate that weights them.
"""

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from speech_emotion.training.config import TrainConfig
from speech_emotion.training.data.embeddings import AugmentedEmbeddings
from speech_emotion.training.data.mixture import Shares
from speech_emotion.training.fit.job import Fitted, Job
from speech_emotion.training.fit.logistic import fit_logistic, fit_many
from speech_emotion.training.fit.loop import smooth
from speech_emotion.training.fit.validation import conclude
from speech_emotion.training.networks.base import EmotionNetwork, Experts
from speech_emotion.training.networks.build import build
from speech_emotion.training.weights import initialise

EPSILON = 1e-5  # of the batch normalisation that standardises
GATE_PENALTY = 0.1
# Taken from the gate's log odds: of what people record, one in fifty sounds like the main corpus, not every other one.
# Before that, unheard speakers of the RAVDESS have 5.9 and more (99 % of windows), other corpora 2 at most (90 %).
GATE_PRIOR = 4.0

Layer = tuple[Tensor, Tensor]  # weight (n_labels, n_embedding) and bias (n_labels,)


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
    if shares:
        found = [fit_layer(standard, targets, penalty) for targets, penalty in problems(shares, config)]
    else:
        targets = smooth(labels, len(network.labels), config.fit.label_smoothing)
        start = (torch.zeros(len(network.labels), rows.shape[1]), torch.zeros(len(network.labels)))
        found = [fit_logistic(standard, targets, start, config.probe.penalty)]
    set_head(network, (mean, variance), [(weight, bias) for weight, bias, _ in found])
    return found[0][2]


def problems(shares: Shares, config: TrainConfig) -> list[tuple[Shares, float]]:
    """The targets of each linear layer of a head, and the penalty on its weight."""
    probe = config.probe
    found = [(shares, probe.penalty)]
    if probe.specialist_penalty:
        found += [(shares.of_main, probe.specialist_penalty), (shares.whether_main, GATE_PENALTY)]
    return found


def fit_layer(rows: Tensor, shares: Shares, penalty: float) -> tuple[Tensor, Tensor, float]:
    """Weight and bias for standardised rows, and the loss; rows that do not count are left out."""
    if not shares.weight.all():
        counts = shares.weight > 0
        rows, shares = rows[counts], shares[counts]
    n_labels = shares.spoken.shape[1]
    return fit_logistic(rows, shares, (torch.zeros(n_labels, rows.shape[1]), torch.zeros(n_labels)), penalty)


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
    found = []
    for asked in zip(*(problems(one, config) for one in shares), strict=True):  # one layer of every network
        counts = torch.stack([targets.weight for targets, _ in asked]).any(dim=0)
        layers = fit_many(rows[counts], [targets[counts] for targets, _ in asked], units, asked[0][1])
        found.append(zip(*layers, strict=True))
    heads = zip(*found, strict=True)
    for network, own_mean, own_variance, head in zip(networks, mean + centre, variance, heads, strict=True):
        set_head(network, (own_mean, own_variance), head)


def set_head(network: EmotionNetwork, units: tuple[Tensor, Tensor], layers: Sequence[Layer]) -> None:
    """units: mean and variance (n_embedding,) by which the head standardises; layers: what comes after that."""
    norm, _, linear = network.head
    mean, variance = units
    state = {"weight": torch.ones_like(mean), "bias": torch.zeros_like(mean)}
    norm.load_state_dict(state | {"running_mean": mean, "running_var": variance}, strict=False)
    load_layers(linear, layers)


def load_layers(linear: nn.Module, layers: Sequence[Layer], gate_prior: float = GATE_PRIOR) -> None:
    """layers: of a linear layer itself, of experts the solutions of `problems`."""
    targets = [linear]
    if isinstance(linear, Experts):
        targets = [linear.general, linear.special, linear.gate]
        *experts, (weight, bias) = layers
        layers = [*experts, (weight[1:] - weight[:1], bias[1:] - bias[:1] - gate_prior)]
    for target, (weight, bias) in zip(targets, layers, strict=True):
        target.load_state_dict({"weight": weight, "bias": bias})
