"""Multinomial logistic regression: a convex problem with one solution, found by L-BFGS."""

import torch
from torch import Tensor
from torch.nn import functional

from speech_emotion.training.data.mixture import Shares

MAX_ITERATIONS = 100


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
