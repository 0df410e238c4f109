"""The goals of speed. In: what `measure.run` found. Out: each goal with its value and whether it is met."""

from collections.abc import Mapping
from typing import Any


def goals(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Name, value, bound and met of every goal. All are upper bounds; ratios are of one run."""
    warm, cold, stages = found["warm"], found["cold"], found["stages"]
    worst, times = worst_stage(stages)
    values = [
        ("compact, warm, to librosa and a CNN in torch", 1 / warm["p1"]["to_compact"]["median"], 0.5),
        (
            "compact, warm, to wav2vec2-base in torch",
            1 / warm["p4-base-torch"]["to_compact"]["median"],
            1 / 40,
        ),
        (
            "standard, warm, to wav2vec2-base in torch",
            1 / warm["p4-base-torch"]["to_standard"]["median"],
            1 / 15,
        ),
        (
            "standard, cold process, to librosa and a CNN in torch",
            1 / cold["p1"]["to_standard"]["median"],
            0.1,
        ),
        ("compact, cold process, to librosa and a CNN in torch", 1 / cold["p1"]["to_compact"]["median"], 0.1),
        ("standard, live, to its CPU before", found["live"]["standard"]["to_before"]["median"], 1 / 3),
        (f"time to floor of the worst stage ({worst})", times, 3),
        ("compact, one hour on one core, seconds", found["hour"]["seconds"], 8),
        ("install with all models, MB", found["footprints"]["ours"]["mb"], 170),
        ("standard, warm, milliseconds", warm["standard"]["median_ms"], 45),
    ]
    return [
        {"name": name, "value": round(value, 4), "bound": round(bound, 4), "met": value <= bound}
        for name, value, bound in values
    ]


def worst_stage(stages: Mapping[str, Any]) -> tuple[str, float]:
    """The stage that is farthest above its floor, of those that take 2 % of a standard answer or more."""
    whole = sum(row["median_ms"] for row in stages["standard"].values())
    rows = {
        f"{name} of {group}": row
        for group, found in stages.items()
        if group != "rates" and not group.endswith("-integer")  # these are not in the package
        for name, row in found.items()
        if row["median_ms"] >= 0.02 * whole
    }
    worst = max(rows, key=lambda name: float(rows[name]["times_floor"]))
    return worst, rows[worst]["times_floor"]
