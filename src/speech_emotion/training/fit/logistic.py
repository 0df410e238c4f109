"""Multinomial logistic regression: a convex problem with one solution, found by L-BFGS."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from speech_emotion.training.data.mixture import Shares

MAX_ITERATIONS = 100
MAX_ITERATIONS_OF_MANY = 150  # one line search serves all of them, so they need more steps


def fit_logistic(
    rows: Tensor, targets: Tensor | Shares, start: tuple[Tensor, Tensor], penalty: float
) -> tuple[Tensor, Tensor, float]:
    """Weight, bias and the minimum of the mean cross-entropy + penalty · ‖weight - start‖².

    rows: (n, n_features); targets: label indices (n,), probabilities (n, n_labels), or what the rows of a mixture say;
    start: weight (n_labels, n_features) and bias (n_labels,) to begin with.
    """
    first = start[0]
    weight, bias = first.clone().requires_grad_(), start[1].clone().requires_grad_()
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=MAX_ITERATIONS, line_search_fn="strong_wolfe")

    def objective() -> float:
        optimizer.zero_grad()
        logits = functional.linear(rows, weight, bias)
        loss = (
            targets.loss(logits) if isinstance(targets, Shares) else functional.cross_entropy(logits, targets)
        )
        loss = loss + penalty * (weight - first).square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    optimizer.step(objective)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach(), objective()


def fit_many(
    rows: Tensor, targets: Sequence[Shares], units: tuple[Tensor, Tensor], penalty: float
) -> tuple[Tensor, Tensor]:
    """The solutions of several problems of the same rows, found together: products of many columns are faster.

    rows: (n, n_features); targets: what the rows say in each problem; units: the mean and the deviation by which each
    standardises the rows, (n_problems, n_features) each. Returns weights (n_problems, n_labels, n_features) and
    biases (n_problems, n_labels).
    """
    n_problems, n_labels = len(targets), targets[0].spoken.shape[1]
    mean, deviation = (values.unsqueeze(1) for values in units)
    weight = torch.zeros(n_problems, n_labels, rows.shape[1], requires_grad=True)
    bias = torch.zeros(n_problems, n_labels, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=MAX_ITERATIONS_OF_MANY, line_search_fn="strong_wolfe"
    )

    def objective() -> float:
        optimizer.zero_grad()
        scaled = weight / deviation
        offset = bias - (scaled * mean).sum(dim=2)
        logits = functional.linear(rows, scaled.flatten(0, 1), offset.flatten())
        losses = [
            one.loss(own) for one, own in zip(targets, torch.split(logits, n_labels, dim=1), strict=True)
        ]
        loss = torch.stack(losses).sum() + penalty * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    optimizer.step(objective)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()
