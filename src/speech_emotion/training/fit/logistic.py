"""Multinomial logistic regression: a convex problem with one solution, found by preconditioned L-BFGS.

Features of one network say much the same, so that plain L-BFGS needs a hundred steps and more. Here it searches in
coordinates in which the Hessian is near the identity (Nocedal & Wright 2006, Numerical Optimization, chapter 5.1).
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from speech_emotion.training.data.mixture import Shares

MAX_ITERATIONS: Final = 100
TOLERANCE: Final = 1e-7  # of the loss
CURVATURE: Final = 0.1  # p (1 - p) of a typical probability
N_ROWS: Final = 12_000  # of which the Hessian is estimated, at most
SMALLEST: Final = 1e-4  # on its diagonal


def fit_logistic(
    rows: Tensor, targets: Tensor | Shares, start: tuple[Tensor, Tensor], penalty: float
) -> tuple[Tensor, Tensor, float]:
    """Weight, bias and the minimum of the mean cross-entropy + penalty · ‖weight - start‖².

    rows: (n, n_features); targets: label indices (n,), probabilities (n, n_labels), or what the rows of a mixture say;
    start: weight (n_labels, n_features) and bias (n_labels,) to begin with.
    """
    first, bias = start[0], start[1].clone().requires_grad_()
    steps = torch.zeros_like(first).requires_grad_()
    counts = targets.weight if isinstance(targets, Shares) else torch.ones(len(rows))
    some = _spread(len(rows))
    factor = _factor(rows[some], counts[some], penalty)

    def loss() -> Tensor:
        difference = _weight(factor, steps)
        logits = functional.linear(rows, first + difference, bias)
        fit = (
            targets.loss(logits) if isinstance(targets, Shares) else functional.cross_entropy(logits, targets)
        )
        return fit + penalty * difference.square().sum()

    least = _minimise([steps, bias], loss)
    return (first + _weight(factor, steps)).detach(), bias.detach(), least


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
    steps = torch.zeros(n_problems * n_labels, rows.shape[1], requires_grad=True)
    bias = torch.zeros(n_problems, n_labels, requires_grad=True)
    counts = torch.stack([one.weight for one in targets]).mean(dim=0)
    typical = (units[0].mean(dim=0), units[1].mean(dim=0))
    some = _spread(len(rows))
    factor = _factor((rows[some] - typical[0]) / typical[1], counts[some], penalty)

    def loss() -> Tensor:
        weight = _weight(factor, steps).reshape(n_problems, n_labels, -1)
        scaled = weight / deviation
        offset = bias - (scaled * mean).sum(dim=2)
        logits = functional.linear(rows, scaled.flatten(0, 1), offset.flatten())
        losses = [
            one.loss(own) for one, own in zip(targets, torch.split(logits, n_labels, dim=1), strict=True)
        ]
        return torch.stack(losses).sum() + penalty * weight.square().sum()

    _minimise([steps, bias], loss)
    return _weight(factor, steps).reshape(n_problems, n_labels, -1).detach(), bias.detach()


def _spread(n_rows: int) -> slice:
    """At most N_ROWS of the rows, evenly spaced."""
    return slice(None, None, -(-n_rows // N_ROWS))


def _factor(rows: Tensor, counts: Tensor, penalty: float) -> Tensor:
    """(n_features, n_features), lower: the Cholesky factor of about the Hessian of one label's weight.

    counts: how much each of the rows (n, n_features) counts, (n,).
    """
    some = rows * (counts / counts.sum()).sqrt().unsqueeze(1)
    hessian = CURVATURE * (some.T @ some)
    hessian.diagonal().add_(2 * penalty + SMALLEST)
    factor: Tensor = torch.linalg.cholesky(hessian)
    return factor


def _weight(factor: Tensor, steps: Tensor) -> Tensor:
    """The weight (n, n_features) at coordinates (n, n_features) in which the Hessian is near the identity."""
    weight: Tensor = torch.linalg.solve_triangular(factor.T, steps.T, upper=True)
    return weight.T


def _minimise(parameters: list[Tensor], loss: Callable[[], Tensor]) -> float:
    """Moves the parameters to the minimum of `loss`, and returns it."""
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=MAX_ITERATIONS, tolerance_change=TOLERANCE, line_search_fn="strong_wolfe"
    )

    def objective() -> float:
        optimizer.zero_grad()
        value: Any = loss()
        value.backward()
        return float(value.item())

    optimizer.step(objective)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        return float(loss())
