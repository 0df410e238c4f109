"""How the enrolled head of recipes/standard.toml was chosen. In: corpora. Out: scores per choice, elsewhere.

    python benchmarks/real_voices/profiles.py DATA [--prepared FOLDER] [--out FILE]

The head learns as `fit/enrolment.py` does it, with several penalties, and counts for several shares of the mean with
the plain head. It answers every clip of the corpora of dev-far, which it did not learn from, under three kinds of
profile: up to 60 s of the speaker, up to 60 s of their neutral speech (where there is any), and all of the corpus,
whoever spoke.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from choose import RECIPE, ROOT, FloatArray, Windows, of_corpus, prepared
from clips import FAR

from speech_emotion.labels import EMOTIONS
from speech_emotion.profile import population_weight, shrunk
from speech_emotion.provenance import commit
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.data.embeddings import AugmentedEmbeddings
from speech_emotion.training.data.mixture import Mixture, Shares
from speech_emotion.training.data.window_features import WindowFeatures, window_features
from speech_emotion.training.fit import enrolment
from speech_emotion.training.fit.linear_probe import fit_head
from speech_emotion.training.fit.logistic import fit_logistic
from speech_emotion.training.fit.train import materials
from speech_emotion.training.networks.base import EmotionNetwork
from speech_emotion.training.networks.build import assemble
from speech_emotion.training.networks.pair import EmotionPair, Network
from speech_emotion.training.weights import initialise

COMMAND: Final = "python benchmarks/real_voices/profiles.py DATA"
PENALTIES: Final = (0.03, 0.1, 0.3)
SHARES: Final = (0.0, 0.35, 0.5, 0.6, 0.7, 0.85, 1.0)
SECONDS: Final = 60.0
KINDS: Final = ("60 s", "60 s of neutral speech", "the corpus")

Pair = enrolment.Pair
IntArray = enrolment.IntArray


def enrolments(data: WindowFeatures, kind: str) -> Iterator[tuple[IntArray, IntArray]]:
    """Windows (n,) that get a profile, and those that it is made of, (m,)."""
    if kind == "the corpus":
        yield np.arange(len(data.clip)), np.arange(len(data.clip))
        return
    for speaker in np.unique(data.speakers):
        own = np.flatnonzero(data.speakers == speaker)  # clips
        neutral = own[data.is_neutral[own]] if kind == "60 s of neutral speech" else own
        order = np.random.default_rng([*speaker.encode()]).permutation(neutral if len(neutral) else own)
        chosen = order[: 1 + np.searchsorted(data.seconds[order].cumsum(), SECONDS)]
        if data.seconds[chosen].sum() >= enrolment.MIN_SECONDS:
            yield np.flatnonzero(np.isin(data.clip, own)), np.flatnonzero(np.isin(data.clip, chosen))


def enrolled(
    data: WindowFeatures, standard: FloatArray, plain: FloatArray, head: Pair, kind: str
) -> FloatArray:
    """Logits (n_windows, n_labels): those of the head, and the plain ones where a speaker has too little speech."""
    logits = plain.copy()
    for windows, chosen in enrolments(data, kind):
        mean, variance = standard[chosen].mean(axis=0), standard[chosen].var(axis=0)
        weight = population_weight(mean, len(chosen), enrolment.PRIOR_WINDOWS)
        mean, deviation = shrunk(mean, variance, len(chosen), weight)
        logits[windows] = (standard[windows] - mean) / deviation @ head[0].T + head[1]
    return logits


def scores(data: WindowFeatures, logits: FloatArray) -> dict[str, float | None]:
    """UAR of four emotions, of all eight and recall of neutral."""
    own = Windows(torch.zeros(0), data.clip, data.labels)
    found = of_corpus(*own.probabilities(logits.astype(np.float64)))
    return {key: found[key] for key in ("four", "all eight", "neutral")}


def heads(
    recipe: TrainConfig, mixture: Mixture, augmented: AugmentedEmbeddings, units: Pair
) -> Iterator[tuple[float, Pair]]:
    """Penalty and head, in units of a profile, for each of PENALTIES."""
    every = np.flatnonzero(mixture.known[mixture.corpus_of, mixture.labels])
    rows, clips = enrolment.relative_copies(augmented, mixture, every, units)
    shares = enrolment.shares_of_copies(mixture, clips, recipe)
    start = (torch.zeros(len(EMOTIONS), rows.shape[1]), torch.zeros(len(EMOTIONS)))
    for penalty in PENALTIES:
        weight, bias, _ = fit_logistic(torch.from_numpy(rows), shares, start, penalty)
        yield penalty, (weight.numpy(), bias.numpy())


def trials(
    recipe: TrainConfig, mixture: Mixture, network: Any, far: dict[str, WindowFeatures]
) -> Iterator[dict[str, Any]]:
    """The scores of every penalty, share and kind of profile: means over the corpora, and each corpus."""
    learned_from: Any = materials(recipe, mixture)
    every = np.flatnonzero(mixture.known[mixture.corpus_of, mixture.labels])
    for part, config, embeddings in zip(parts_of(network), recipe.parts, learned_from, strict=True):
        rows, clips = embeddings.rows(every)
        shares = Shares.of(mixture, every, config).rows(clips)
        fit_head(part.train(), rows, torch.from_numpy(mixture.labels)[clips], config, shares)
        del rows
    found = AugmentedEmbeddings.side_by_side(learned_from)
    del learned_from
    features = window_features(network.eval(), recipe, mixture)
    units = enrolment.population(features.of(np.intersect1d(every, features.clip)))
    n = network.n_embedding
    with torch.inference_mode():
        plain = {
            name: network.logits(torch.from_numpy(data.features[:, :n])).numpy() for name, data in far.items()
        }
    standard = {name: (data.features[:, :n] - units[0][:n]) / units[1][:n] for name, data in far.items()}
    for penalty, head in heads(recipe, mixture, found, units):
        for kind in KINDS:
            logits = {
                name: enrolled(data, standard[name], plain[name], head, kind) for name, data in far.items()
            }
            for share in SHARES:
                own = {
                    name: scores(data, share * logits[name] + (1 - share) * plain[name])
                    for name, data in far.items()
                }
                yield {"penalty": penalty, "share": share, "profile": kind} | summary(own)


def parts_of(network: Network) -> list[EmotionNetwork]:
    """The one or two networks of a recipe."""
    return [network.first, network.second] if isinstance(network, EmotionPair) else [network]


def summary(by_corpus: dict[str, dict[str, float | None]]) -> dict[str, Any]:
    """Means over the corpora that have a score, and the four emotions of each corpus."""
    means = {}
    for key in ("four", "all eight", "neutral"):
        means[f"mean {key}"] = float(np.mean([x[key] for x in by_corpus.values() if x[key] is not None]))
    return {**means, "four by corpus": {name: found["four"] for name, found in by_corpus.items()}}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="How the enrolled head was chosen.")
    parser.add_argument("data", type=Path)
    parser.add_argument("--prepared", type=Path, default=Path("prepared"))
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "benchmarks" / "far-profiles.json")
    given = parser.parse_args(arguments)
    recipe = TrainConfig.load(RECIPE)
    names = (recipe.corpus, *recipe.mixture)
    mixture = Mixture(tuple(prepared(given.data, name, given.prepared) for name in names), recipe.unlabelled)
    network = assemble(recipe, mixture.label_names)
    for part, config in zip(parts_of(network), recipe.parts, strict=True):
        initialise(part, config.init)
    far = {
        name: elsewhere(network.eval(), recipe, prepared(given.data, name, given.prepared)) for name in FAR
    }
    document: dict[str, Any] = {"command": COMMAND, "commit": commit(), "trials": []}
    for found in trials(recipe, mixture, network, far):
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
