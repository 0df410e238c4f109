"""What `adapt="recording"` does to recordings in which one speaker changes their mood.

    python benchmarks/adapt.py DATA [--speakers 4] [--out FILE]

In: DATA/nemo as published and DATA/uem-es with its labels.tsv (file, speaker, label), corpora that the shipped model
was not trained on. From the clips of each speaker two recordings are made of TURNS turns. In a turn, clips of one mood
follow each other until it lasts TURN_SECONDS. In "mixed" recordings the moods come in a random order that repeats, in
"neutral-heavy" ones every second turn is neutral. Every window inside one turn counts, with its mood as the truth.
Out: UAR over the windows of all speakers without and with `adapt`, when the model may answer with all of its labels and
with those of the corpus alone. As lines and as JSON.
"""

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
from provenance import provenance

from speech_emotion import corpora
from speech_emotion.audio import SAMPLE_RATE, FloatArray, load
from speech_emotion.classifier import Classifier
from speech_emotion.classifier import load as load_model
from speech_emotion.prediction import Prediction

ROOT: Final = Path(__file__).resolve().parent.parent
TURNS: Final = 12
TURN_SECONDS: Final = 8.0
Turns = list[tuple[str, float, float]]  # mood, start and end in seconds
Answers = list[tuple[str, Mapping[str, float]]]  # truth, probabilities


def clips_of(data: Path) -> Iterator[tuple[str, str, str, Path]]:
    """Corpus, speaker, mood and file of every clip."""
    for clip in corpora.get("nemo").scan(data / "nemo"):
        yield "nemo", str(clip.speaker), clip.label, data / "nemo" / clip.path
    with (data / "uem-es" / "labels.tsv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            yield "uem-es", row["speaker"], row["label"], data / "uem-es" / row["file"]


def recording(
    moods: Mapping[str, list[Path]], is_neutral_heavy: bool, rng: np.random.Generator
) -> tuple[FloatArray, Turns]:
    """One recording of a speaker: its samples at 16 kHz and its turns. Clips come again once all of a mood are used."""
    order = [str(mood) for mood in rng.permutation(sorted(moods))]
    if is_neutral_heavy:
        order = [mood for other in order if other != "neutral" for mood in ("neutral", other)]
    queues: dict[str, list[Path]] = {mood: [] for mood in moods}
    pieces: list[FloatArray] = []
    turns: Turns = []
    n_samples = 0
    for index in range(TURNS):
        mood, start = order[index % len(order)], n_samples
        while n_samples - start < TURN_SECONDS * SAMPLE_RATE:
            if not queues[mood]:
                queues[mood] = [moods[mood][k] for k in rng.permutation(len(moods[mood]))]
            pieces.append(load(queues[mood].pop()).samples)
            n_samples += len(pieces[-1])
        turns.append((mood, start / SAMPLE_RATE, n_samples / SAMPLE_RATE))
    return np.concatenate(pieces), turns


def inside(turns: Turns, timeline: Iterable[Prediction]) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Truth and probabilities of the windows with speech that lie inside one turn."""
    for answer in timeline:
        for mood, start, end in turns:
            if start <= answer.start_seconds and answer.end_seconds <= end and answer.probabilities:
                yield mood, answer.probabilities


def uar(answers: Answers, labels: Iterable[str]) -> float:
    """Percent: the mean over the moods of how many of their windows are answered right, among `labels`."""
    right: dict[str, list[bool]] = defaultdict(list)
    for truth, probabilities in answers:
        right[truth].append(max(labels, key=probabilities.__getitem__) == truth)
    return round(100 * float(np.mean([np.mean(hits) for hits in right.values()])), 1)


def measure(classifier: Classifier, data: Path, n_speakers: int) -> dict[str, Any]:
    """Per corpus and kind of recording: the UARs without and with `adapt`."""
    speakers: dict[tuple[str, str], dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for corpus, speaker, mood, path in clips_of(data):
        if mood in classifier.info.labels:
            speakers[corpus, speaker][mood].append(path)
    found: dict[str, Any] = {}
    for corpus, kind in product(("nemo", "uem-es"), ("mixed", "neutral-heavy")):
        chosen = [key for key in sorted(speakers) if key[0] == corpus and "neutral" in speakers[key]]
        plain: Answers = []
        adapted: Answers = []
        for key in chosen[:n_speakers]:
            samples, turns = recording(speakers[key], kind == "neutral-heavy", np.random.default_rng(0))
            plain += inside(turns, classifier.timeline(samples, sample_rate=SAMPLE_RATE))
            timeline = classifier.timeline(samples, sample_rate=SAMPLE_RATE, adapt="recording")
            adapted += inside(turns, timeline)
        moods = sorted({truth for truth, _ in plain})
        found[f"{corpus}, {kind}"] = {
            "speakers": [speaker for _, speaker in chosen[:n_speakers]],
            "n_windows": len(plain),
            "labels": moods,
            "uar_all_labels": [uar(answers, classifier.info.labels) for answers in (plain, adapted)],
            "uar_labels_of_corpus": [uar(answers, moods) for answers in (plain, adapted)],
        }
        print(f"{corpus}, {kind}: {found[f'{corpus}, {kind}']}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description='Measure what adapt="recording" does.')
    parser.add_argument("data", type=Path)
    parser.add_argument("--speakers", type=int, default=4, help="of each corpus")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "benchmarks" / "adapt.json")
    arguments = parser.parse_args()
    report = {
        "recordings": measure(load_model(), arguments.data, arguments.speakers),
        "order": ["without adapt", "with adapt"],
        "turns": TURNS,
        "turn_seconds": TURN_SECONDS,
        **provenance("shared"),
        "command": f"python benchmarks/adapt.py DATA --speakers {arguments.speakers}",
    }
    arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
