"""A shipped model on people far from its corpora, with and without profiles, and on plain speech.

    python benchmarks/real_voices/far.py DATA [--model standard] [--out FILE]

In: DATA with ased, aesdd, uem-es and urdu, which no shipped model learned from, and plain-speech/many, people who read
or order coffee. Out, per corpus: UAR among the four emotions neutral, happy, sad and angry (those that it has), UAR of
all labels of the model, recall of neutral, and ECE, without a profile, with one of up to 60 s of the speaker, and with
one of up to 5 min of the corpus, whoever spoke. Of every third clip of plain speech: the share called neutral or calm,
the share "not sure", and the share called angry with more than 0.8. As lines and as JSON.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from clips import FAR, FOUR, PLAIN, Row, rows_of
from provenance import provenance

from speech_emotion.audio import SAMPLE_RATE, FloatArray, load
from speech_emotion.classifier import Classifier
from speech_emotion.classifier import load as load_model
from speech_emotion.errors import SpeechEmotionError
from speech_emotion.evaluation.metrics import ece, uar
from speech_emotion.profile import SpeakerProfile

ROOT: Final = Path(__file__).resolve().parents[2]
SECONDS: Final = 60.0  # of a voice
SECONDS_OF_A_PLACE: Final = 300.0
WAYS: Final = ("without a profile", "60 s of the voice", "5 min of the corpus")

Sound = tuple[Row, FloatArray]


def profile_of(
    classifier: Classifier, sounds: Sequence[Sound], seed: str, seconds: float = SECONDS
) -> SpeakerProfile | None:
    """Of clips in a random order until there are `seconds`; None if that is too little speech."""
    chosen: list[FloatArray] = []
    total = 0.0
    for index in np.random.default_rng([*seed.encode()]).permutation(len(sounds)).tolist():
        if total >= seconds:
            break
        chosen.append(sounds[index][1])
        total += len(chosen[-1]) / SAMPLE_RATE
    try:
        return classifier.enrol(*chosen, sample_rate=SAMPLE_RATE) if chosen else None
    except SpeechEmotionError:
        return None


def answered(classifier: Classifier, sounds: Sequence[Sound]) -> dict[str, list[tuple[int, Any]]]:
    """For each way, the label of every answered clip and its probabilities."""
    labels = classifier.info.labels
    found: dict[str, list[tuple[int, Any]]] = {way: [] for way in WAYS}
    place = profile_of(classifier, sounds, "place", SECONDS_OF_A_PLACE)
    for speaker in sorted({row.speaker for row, _ in sounds}):
        own = [one for one in sounds if one[0].speaker == speaker]
        profiles = (None, profile_of(classifier, own, speaker), place)
        for way, profile in zip(WAYS, profiles, strict=True):
            for row, samples in own:
                given = classifier.predict(samples, sample_rate=SAMPLE_RATE, profile=profile).probabilities
                if given:
                    found[way].append((labels.index(row.label), [given[label] for label in labels]))
    return found


def scores(labels: Sequence[str], answers: Sequence[tuple[int, Any]]) -> dict[str, Any]:
    truth = np.array([label for label, _ in answers])
    probabilities = np.array([given for _, given in answers])
    among = [labels.index(name) for name in FOUR if labels.index(name) in truth]
    asked = np.isin(truth, among)
    neutral = truth == labels.index("neutral")
    answer = probabilities.argmax(axis=1)
    return {
        "n": len(truth),
        "uar_among_four": 100
        * uar(truth[asked], np.array(among)[probabilities[asked][:, among].argmax(axis=1)]),
        "uar": 100 * uar(truth, answer),
        "neutral_recall": 100 * float((answer[neutral] == labels.index("neutral")).mean())
        if neutral.any()
        else None,
        "ece": 100 * ece(truth, probabilities),
    }


def of_plain_speech(classifier: Classifier, rows: Sequence[Row]) -> dict[str, float]:
    answers = [classifier.predict(row.path) for row in rows]
    given = [answer for answer in answers if answer.probabilities]
    best = [answer.emotions[0] for answer in given]
    return {
        "n": len(given),
        "neutral_or_calm_percent": 100 * float(np.mean([label in ("neutral", "calm") for label in best])),
        "not_sure_percent": 100 * float(np.mean([answer.abstained is not None for answer in given])),
        "angry_above_0.8_percent": 100
        * float(np.mean([answer.probabilities["angry"] > 0.8 for answer in given])),
    }


def known(rows: Sequence[Row], labels: Sequence[str]) -> Iterator[Sound]:
    """The clips with a label of the model that can be read."""
    for row in rows:
        if row.label in labels:
            yield row, load(row.path).samples


def means(corpora: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Over the corpora that have a score."""
    found: dict[str, dict[str, float]] = {way: {} for way in WAYS}
    for way, key in product(WAYS, ("uar_among_four", "uar", "neutral_recall", "ece")):
        values = [ways[way][key] for ways in corpora.values() if ways[way][key] is not None]
        found[way][key] = float(np.mean(values))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="A shipped model far from its corpora, and on plain speech.")
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default=None)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "benchmarks" / "far.json")
    arguments = parser.parse_args()
    classifier = load_model(arguments.model)
    rows = list(rows_of(arguments.data))
    corpora: dict[str, dict[str, Any]] = {}
    for name in FAR:
        sounds = list(known([row for row in rows if row.corpus == name], classifier.info.labels))
        corpora[name] = {
            way: scores(classifier.info.labels, some) for way, some in answered(classifier, sounds).items()
        }
        for way, found in corpora[name].items():
            print(
                f"{name}, {way}: " + ", ".join(f"{key} {value:.1f}" for key, value in found.items() if value),
                flush=True,
            )
    document = {
        "model": classifier.info.name,
        "model_sha256": classifier.info.sha256,
        "corpora": corpora,
        "means": means(corpora),
        "plain_speech": of_plain_speech(classifier, [row for row in rows if row.corpus == PLAIN][::3]),
        **provenance("not alone on it"),
    }
    print(json.dumps({key: document[key] for key in ("means", "plain_speech")}, indent=1))
    arguments.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
