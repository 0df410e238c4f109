"""A run's log as a picture. In: a run folder with log.jsonl. Out: curves.png beside it."""

import json
from pathlib import Path


def draw_curves(folder: Path) -> Path:
    """Training loss, and validation UAR where somebody was set aside, over epochs."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    log = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    epochs = [row["epoch"] for row in log]
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), constrained_layout=True)
    losses, scores = axes
    losses.plot(epochs, [row["loss"] for row in log], color="#0072B2", label="training (augmented, smoothed)")
    losses.set(xlabel="epoch", ylabel="cross-entropy", title="Loss")
    scores.set(xlabel="epoch", ylabel="UAR, %", title="Validation speakers", ylim=(0, 100))
    if log[-1]["validation_uar"] is not None:
        losses.plot(epochs, [row["validation_loss"] for row in log], color="#D55E00", label="validation")
        scores.plot(epochs, [row["validation_uar"] for row in log], color="#D55E00")
        scores.axhline(12.5, color="grey", linestyle=":", label="chance, 12.5 %")
        scores.annotate(
            f"{log[-1]['validation_uar']:.1f}",
            (epochs[-1], log[-1]["validation_uar"]),
            (0, 6),
            textcoords="offset points",
            ha="right",
        )
        scores.legend(loc="lower right", frameon=False)
    else:
        scores.text(0.5, 0.5, "everybody was learned from", ha="center", transform=scores.transAxes)
    losses.legend(frameon=False)
    for axis in axes:
        axis.grid(alpha=0.3)
    path = folder / "curves.png"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path
