"""How much an enrolled head should count, on people far from its corpora. In: corpora. Out: scores per choice.

    python benchmarks/real_voices/profiles.py DATA [--prepared FOLDER] [--out FILE]

Heads of recipes/standard.toml learn from the windows of its corpora, as `fit/enrolment.py` does it: with several
penalties, and the share that they have in the mean with the plain head. They answer every clip of the corpora of
dev-far, which they did not learn from, each speaker enrolled with up to 60 s of their own clips.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from choose import RECIPE, ROOT, FloatArray, Windows, of_corpus, prepared
from clips import FAR

from speech_emotion.labels import EMOTIONS
from speech_emotion.provenance import commit
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.data.mixture import Mixture, Shares
from speech_emotion.training.data.window_features import WindowFeatures, window_features
from speech_emotion.training.fit import enrolment
from speech_emotion.training.fit.logistic import fit_logistic
from speech_emotion.training.networks.build import build
from speech_emotion.training.weights import initialise

COMMAND: Final = "python benchmarks/real_voices/profiles.py DATA"
PENALTIES: Final = (0.1, 1.0, 3.0, 10.0)
SHARES: Final = (0.0, 0.2, 0.35, 0.5, 1.0)
N_DRAWS: Final = 2  # profiles per speaker in the fit

Pair = enrolment.Pair


def plain_head(rows: FloatArray, shares: Shares, recipe: TrainConfig) -> Pair:
    """Weight and bias of a head for windows without a profile."""
    start = (torch.zeros(len(EMOTIONS), rows.shape[1]), torch.zeros(len(EMOTIONS)))
    weight, bias, _ = fit_logistic(torch.from_numpy(rows), shares, start, recipe.probe.penalty)
    return weight.numpy(), bias.numpy()


def scores(
    far: dict[str, WindowFeatures], units: Pair, plain: Pair, head: Pair, share: float
) -> dict[str, Any]:
    """UAR of four emotions, of all eight and recall of neutral, per corpus and as means over the corpora."""
    by_corpus = {}
    for name, data in far.items():
        standard = (data.features - units[0]) / units[1]
        logits = standard @ plain[0].T + plain[1]
        for windows, (mean, deviation) in enrolment.profiles(data, standard, [0], seed=0):
            enrolled = (standard[windows] - mean) / deviation @ head[0].T + head[1]
            logits[windows] = share * enrolled + (1 - share) * logits[windows]
        own = Windows(torch.zeros(0), data.clip, data.labels)
        by_corpus[name] = of_corpus(*own.probabilities(logits.astype(np.float64)))
    keys = ("four", "all eight", "neutral")
    means = {
        f"mean {key}": float(np.mean([x[key] for x in by_corpus.values() if x[key] is not None]))
        for key in keys
    }
    return {**means, "four by corpus": {name: found["four"] for name, found in by_corpus.items()}}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="How much an enrolled head should count.")
    parser.add_argument("data", type=Path)
    parser.add_argument("--prepared", type=Path, default=Path("prepared"))
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "benchmarks" / "far-profiles.json")
    given = parser.parse_args(arguments)
    recipe = TrainConfig.load(RECIPE)
    names = (recipe.corpus, *recipe.mixture)
    mixture = Mixture(tuple(prepared(given.data, name, given.prepared) for name in names), recipe.unlabelled)
    network = build(recipe, mixture.label_names)
    initialise(network, recipe.init)
    network.eval()
    every = window_features(network, recipe, mixture)
    is_known = mixture.known[mixture.corpus_of, mixture.labels]
    train = np.intersect1d(np.unique(every.clip), np.flatnonzero(is_known))
    data = every.of(train)
    shares = Shares.of(mixture, train, recipe)
    units = enrolment.population(data)
    standard = (data.features - units[0]) / units[1]
    n, clips = network.n_embedding, torch.from_numpy(train)
    plain = plain_head(np.ascontiguousarray(standard[:, :n]), shares.rows(clips[data.clip]), recipe)
    plain = (np.pad(plain[0], ((0, 0), (0, standard.shape[1] - n))), plain[1])
    rows, windows = enrolment.relative(data, standard, range(N_DRAWS), seed=0)
    targets = shares.rows(clips[data.clip[windows]])
    far = {name: elsewhere(network, recipe, prepared(given.data, name, given.prepared)) for name in FAR}
    document: dict[str, Any] = {"command": COMMAND, "commit": commit(), "trials": []}
    for penalty in PENALTIES:
        head = enrolment.fit_head(rows, data.labels[data.clip[windows]], plain, penalty, shares=targets)
        for share in SHARES if penalty == PENALTIES[0] else SHARES[1:]:
            found = {"penalty": penalty, "share": share} | scores(far, units, plain, head, share)
            document["trials"].append(found)
            print(json.dumps(found), flush=True)
    given.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def elsewhere(network: Any, recipe: TrainConfig, part: Any) -> WindowFeatures:
    """The windows of a corpus of dev-far; -1 for labels that the recipe does not have."""
    found = window_features(network, recipe, part)
    ours = np.array([EMOTIONS.index(name) if name in EMOTIONS else -1 for name in part.label_names])
    facts = (found.seconds, ours[found.labels], found.speakers, found.is_neutral)
    return WindowFeatures(found.features, found.clip, *facts)


if __name__ == "__main__":
    main()
