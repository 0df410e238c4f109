"""Write app/scores.json: how often an answer was right and how long it took, as the page says, from results/.

    python tools/make_page_scores.py

In: results/CORPUS-dev-far-MODEL.csv (people, languages and corpora that no model learned from) and
results/ravdess-luna5-MODEL.csv, written by `speech-emotion evaluate`; results/benchmarks/speed.json. Out: for each
model, shares of right answers by their probability, counts of answers by what was spoken, and the time of an answer.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "app" / "scores.json"
MODELS = ("standard", "compact")
FAR = ("aesdd", "ased", "uem-es", "urdu")
CLIP_SECONDS = 3.5  # of the file that benchmarks/speed.py measures
BORDERS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 1.0)  # of the probability of an answer


def main() -> None:
    """Write the file."""
    OUT.write_text(json.dumps(scores(), indent=1) + "\n")
    print(OUT.relative_to(ROOT))


def scores() -> dict[str, Any]:
    """What app/scores.json holds."""
    document = {}
    speed = json.loads((ROOT / "results" / "benchmarks" / "speed.json").read_text())
    processor = str(speed["processor"]).partition(" (")[0]
    for model in MODELS:
        far = [row for corpus in FAR for row in answers(f"{corpus}-dev-far-{model}")]
        ravdess = answers(f"ravdess-luna5-{model}")
        document[model] = {
            "right": {"elsewhere": right(far), "ravdess": right(ravdess)},
            "confusion": {"elsewhere": confusion(far), "ravdess": confusion(ravdess)},
            "speed": {
                "milliseconds": round(speed["warm"][model]["median_ms"]),
                "of": f"a file of {CLIP_SECONDS} s on one core, {processor}",
            },
        }
    return document


def answers(result: str) -> list[dict[str, str]]:
    """The rows of a result that have a column for the answer."""
    with (ROOT / "results" / f"{result}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def right(rows: Iterable[dict[str, str]]) -> list[dict[str, float]]:
    """By the probability of the answer: the share of right ones, and how many there are."""
    found = [(float(row[row["answer"]]), row["answer"] == row["label"]) for row in rows if row["answer"]]
    bins = []
    for low, high in pairwise(BORDERS):
        inside = [is_right for share, is_right in found if low <= share < high or share == high == 1]
        if inside:
            bins.append(
                {"from": low, "to": high, "right": round(sum(inside) / len(inside), 4), "n": len(inside)}
            )
    return bins


def confusion(rows: Iterable[dict[str, str]]) -> dict[str, dict[str, int]]:
    """What was spoken → what was answered → how often."""
    counts = Counter((row["label"], row["answer"] or row["abstained"]) for row in rows)
    table: dict[str, dict[str, int]] = {}
    for (spoken, answered), n in sorted(counts.items()):
        table.setdefault(spoken, {})[answered] = n
    return table


if __name__ == "__main__":
    main()
