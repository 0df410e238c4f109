"""Multinomial logistic regression: a convex problem with one solution, found by L-BFGS."""

import torch
from torch import Tensor
from torch.nn import functional

from speech_emotion.training.data.mixture import Shares

MAX_ITERATIONS = 100
IMPOSSIBLE = -1e9  # a logit; finite, because 0 · ∞ is not a number


def fit_logistic(
    rows: Tensor,
    targets: Tensor,
    start: tuple[Tensor, Tensor],
    penalty: float,
    shares: Shares | None = None,
) -> tuple[Tensor, Tensor, float]:
    """Weight, bias and the minimum of the mean cross-entropy + penalty · ‖weight - start‖².

    rows: (n, n_features); targets: label indices (n,) or probabilities (n, n_labels); start: weight (n_labels,
    n_features) and bias (n_labels,) to begin with; shares: those of the rows, whose mean is then weighted and whose
    softmax is over the labels that each row says something about.
    """
    first = start[0]
    weight, bias = first.clone().requires_grad_(), start[1].clone().requires_grad_()
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=MAX_ITERATIONS, line_search_fn="strong_wolfe")

    def objective() -> float:
        optimizer.zero_grad()
        logits = functional.linear(rows, weight, bias)
        if shares is None:
            loss = functional.cross_entropy(logits, targets)
        else:
            logits = logits.masked_fill(~shares.allowed, IMPOSSIBLE)
            loss = functional.cross_entropy(logits, targets, reduction="none") @ shares.weight
        loss = loss + penalty * (weight - first).square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    optimizer.step(objective)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach(), objective()
