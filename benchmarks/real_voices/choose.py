"""How the settings of recipes/standard.toml were chosen. In: the cache of embed.py. Out: scores of each other choice.

    python benchmarks/real_voices/choose.py DATA --cache FOLDER [--out FILE]

Every trial is the recipe with one setting changed. Its heads are the recipe's own, but learn from 1024 principal
components of clean embeddings, one row per clip, which takes seconds. They are scored on what they did not learn from:
the corpora of dev-far, half of the people of plain speech, and fold by fold the validation actors of luna5, without
the fold's test actors. The test actors of luna5 are never scored.

The ways of calibration divide the logits of the recipe's heads. They are fitted to the validation actors of luna5 and
to every other corpus that is learned from, each scored by a head that learned without it, and judged on dev-far.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parent))
from clips import FAR, FOUR, PLAIN, Row, rows_of

from speech_emotion.corpora import Clip
from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.evaluation import splits
from speech_emotion.evaluation.metrics import ece, uar
from speech_emotion.labels import EMOTIONS, in_order
from speech_emotion.provenance import commit
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.data.mixture import Mixture, Shares
from speech_emotion.training.fit.calibration import fit_temperature, softmax
from speech_emotion.training.fit.cross_fit import HIGHEST, LOWEST, MAX_ITERATIONS
from speech_emotion.training.fit.logistic import fit_logistic

ROOT: Final = Path(__file__).resolve().parents[2]
RECIPE: Final = ROOT / "recipes" / "standard.toml"
COMMAND: Final = "python benchmarks/real_voices/choose.py DATA --cache FOLDER"
N_COMPONENTS: Final = 1024
LAYERS: Final = slice(1, 4)  # of the cache: the three that the recipe pools
N: Final = len(EMOTIONS)
QUIET: Final = [EMOTIONS.index("neutral"), EMOTIONS.index("calm")]
ANGRY: Final = EMOTIONS.index("angry")
PENALTIES: Final = (0.1, 0.3, 1.0, 3.0, 10.0)  # of the temperature of a window
BIAS_PENALTY: Final = 0.01

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def trials(recipe: TrainConfig) -> dict[str, TrainConfig]:
    """The recipe, and what it could be instead. Corpora that are not named count 1; the recipe is 6, 0.3 and 3."""

    def weighted(ravdess: float = 6.0, song: float = 0.3, plain: float = 3.0) -> TrainConfig:
        counts = dict.fromkeys(recipe.mixture, 1.0) | {"ravdess-song": song, PLAIN: plain}
        return replace(recipe, mixture={name: count / ravdess for name, count in counts.items()})

    def without(*names: str) -> TrainConfig:
        return replace(recipe, mixture={name: x for name, x in recipe.mixture.items() if name not in names})

    penalties = (0.01, 0.03, 0.15, 0.3)
    return {
        "the recipe": recipe,
        **{f"penalty {x}": replace(recipe, probe=replace(recipe.probe, penalty=x)) for x in penalties},
        "no label is exclusive": replace(recipe, exclusive=()),
        "every label is exclusive": replace(recipe, exclusive=EMOTIONS),
        **{f"the RAVDESS counts {x}": weighted(ravdess=x) for x in (1, 4, 16)},
        "song counts 1": weighted(song=1.0),
        "plain speech counts 1": weighted(plain=1.0),
        "without plain speech": without(PLAIN),
        "without TESS and TurEV-DB": without("tess", "turev-db"),
    }


# Clips and embeddings


def mixture_of(rows: Iterable[Row], recipe: TrainConfig) -> Mixture:
    """The clips of the cache, learned from or not, in its order."""
    parts = [_part(name, list(own)) for name, own in groupby(rows, lambda row: row.corpus)]
    return Mixture(tuple(parts), recipe.unlabelled)


def _part(name: str, rows: list[Row]) -> PreparedDataset:
    """A corpus without its sound."""
    label_names = in_order(row.label for row in rows)
    return PreparedDataset(
        folder=Path(),
        corpus=name,
        corpus_hash="",
        key="",
        clips=[Clip(row.path, row.label, row.speaker, "unknown") for row in rows],
        licence="",
        citation="",
        label_names=label_names,
        labels=np.array([label_names.index(row.label) for row in rows]),
        speakers=np.array([row.speaker for row in rows]),
        offsets=np.zeros(len(rows) + 1, np.int64),
        scales=np.ones(len(rows), np.float32),
        waveforms=np.zeros(0, np.int16),
    )


def embeddings_of(cache: Path) -> Tensor:
    """(n_clips, n_features) float16."""
    parts = [np.load(path, mmap_mode="r")[:, LAYERS] for path in sorted(cache.glob("embeddings-*.npy"))]
    return torch.from_numpy(np.concatenate([part.reshape(len(part), -1) for part in parts]))


def components(embeddings: Tensor, mixture: Mixture, recipe: TrainConfig) -> tuple[Tensor, float]:
    """(n_clips, N_COMPONENTS), of embeddings standardised by the recipe's shares; and the part of their square kept."""
    learned = learned_from(mixture, recipe)
    weight = Shares.of(mixture, learned, recipe).rows(torch.from_numpy(learned)).weight
    rows = embeddings[learned].float()
    mean = weight @ rows
    scale = 1 / (weight @ (rows - mean).square() + 1e-5).sqrt()
    standard = ((rows - mean) * scale).clamp(-8, 8)
    torch.manual_seed(0)
    basis = torch.svd_lowrank(standard[::2], q=N_COMPONENTS)[2]
    kept = (standard[::20] @ basis).square().sum() / standard[::20].square().sum()
    parts = embeddings.split(2048)
    every = torch.cat([((part.float() - mean) * scale).clamp(-8, 8) @ basis for part in parts])
    return every, float(kept)


# Heads, and what they did not learn from


def learned_from(mixture: Mixture, config: TrainConfig) -> IntArray:
    """The clips that a recipe learns from."""
    names = np.array([part.corpus for part in mixture.parts])
    ours = np.isin(names, [config.corpus, *config.mixture])[mixture.corpus_of]
    return np.flatnonzero(ours & mixture.known[mixture.corpus_of, mixture.labels])


@dataclass(frozen=True, eq=False)
class Material:
    """All clips. rows: (n_clips, n_components)."""

    mixture: Mixture
    rows: Tensor

    def of(self, *names: str) -> BoolArray:
        """(n_clips,): the clips of some corpora."""
        return np.isin([part.corpus for part in self.mixture.parts], names)[self.mixture.corpus_of]

    def by(self, actors: Iterable[str]) -> BoolArray:
        """(n_clips,): speech and song of some actors of the RAVDESS."""
        return np.isin(self.mixture.speakers, [f"ravdess:{actor}" for actor in actors])

    @property
    def asked(self) -> BoolArray:
        """(n_clips,): plain speech of the half of its people who are not learned from."""
        is_asked = np.array([sum(name.encode()) % 2 == 0 for name in self.mixture.speakers])
        return self.of(PLAIN) & is_asked

    def logits(self, config: TrainConfig, left_out: BoolArray) -> FloatArray:
        """(n_clips, N) of a head that learned from what the recipe does, without the clips `left_out`."""
        learned = learned_from(self.mixture, config)
        learned = learned[~left_out[learned]]
        index = torch.from_numpy(learned)
        shares = Shares.of(self.mixture, learned, config).rows(index)
        start = (torch.zeros(N, self.rows.shape[1]), torch.zeros(N))
        weight, bias, _ = fit_logistic(self.rows[index], shares, start, config.probe.penalty)
        return functional.linear(self.rows, weight, bias).double().numpy()


def unheard(material: Material, config: TrainConfig) -> FloatArray:
    """(n_clips, N), nan for clips that are not asked: dev-far, half of plain speech, the validation actors of luna5."""
    far, plain = material.of(*FAR), material.asked
    found = np.where((far | plain)[:, None], material.logits(config, plain), np.nan)
    for fold in splits.protocol("luna5").folds:
        scores = material.logits(config, material.by(fold.test | fold.validation))
        here = material.of("ravdess") & material.by(fold.validation)
        found[here] = scores[here]
    return found


def with_left_out_corpora(material: Material, config: TrainConfig, logits: FloatArray) -> FloatArray:
    """And the labelled corpora that are learned from, each by a head that learned without it."""
    found = logits.copy()
    for name in _others(config):
        here = material.of(name)
        found[here] = material.logits(config, here | material.asked)[here]
    return found


def _others(config: TrainConfig) -> list[str]:
    return [name for name in config.mixture if name not in ("ravdess-song", PLAIN)]


# Scores, in percent


def scores(material: Material, probabilities: FloatArray) -> dict[str, Any]:
    """Of clips whose probabilities are not nan. `mean`: over the corpora of dev-far."""
    labels = material.mixture.labels
    by_corpus = {}
    for name in FAR:
        here = material.of(name)
        by_corpus[name] = _of_corpus(labels[here], probabilities[here])
    found: dict[str, Any] = {}
    for key in ("four", "all eight", "neutral", "ece"):
        values = [own[key] for own in by_corpus.values() if own[key] is not None]
        found[f"mean {key}"] = float(np.mean(values))
    plain = probabilities[material.asked]
    found["plain: neutral or calm"] = 100 * float(np.isin(plain.argmax(axis=1), QUIET).mean())
    found["plain: angry > 0.8"] = 100 * float((plain[:, ANGRY] > 0.8).mean())
    ours = material.of("ravdess") & ~np.isnan(probabilities[:, 0])
    found["ravdess: ece"] = 100 * ece(labels[ours], probabilities[ours])
    return {**found, "by corpus": by_corpus}


def _of_corpus(labels: IntArray, probabilities: FloatArray) -> dict[str, float | None]:
    """UAR among four emotions and among all eight, recall of neutral, ECE, accuracy and mean confidence."""
    four = np.array([EMOTIONS.index(name) for name in FOUR if EMOTIONS.index(name) in labels])
    asked, answer = np.isin(labels, four), probabilities.argmax(axis=1)
    is_neutral = labels == EMOTIONS.index("neutral")
    return {
        "four": 100 * uar(labels[asked], four[probabilities[asked][:, four].argmax(axis=1)]),
        "all eight": 100 * uar(labels, answer),
        "neutral": 100 * float((answer == labels)[is_neutral].mean()) if is_neutral.any() else None,
        "ece": 100 * ece(labels, probabilities),
        "right": 100 * float((answer == labels).mean()),
        "confidence": 100 * float(probabilities.max(axis=1).mean()),
        "called calm": 100 * float((answer == EMOTIONS.index("calm")).mean()),
    }


def tried(material: Material, config: TrainConfig, logits: FloatArray) -> dict[str, Any]:
    """The scores of a recipe, calibrated by the one temperature of the validation actors."""
    ours, labels = np.flatnonzero(material.of("ravdess") & ~np.isnan(logits[:, 0])), material.mixture.labels
    folds = [material.by(fold.validation)[ours] for fold in splits.protocol("luna5").folds]
    answer = logits[ours].argmax(axis=1)
    validation = [100 * uar(labels[ours][fold], answer[fold]) for fold in folds]
    temperature = fit_temperature(logits[ours], np.arange(len(ours)), labels[ours])
    return {
        "settings": {
            "penalty": config.probe.penalty,
            "mixture": config.mixture,
            "exclusive": config.exclusive,
        },
        "validation": {"folds": validation, "mean": float(np.mean(validation))},
        "temperature": temperature,
        **scores(material, softmax(logits / temperature)),
    }


# Calibration


@dataclass(frozen=True)
class Way:
    """One way of calibration. `home`: what the validation actors count in its fit, of 1; the other corpora the rest.

    penalty: of the temperature of a window; None is one temperature for all.
    """

    home: float
    penalty: float | None = None
    has_bias: bool = False


WAYS: Final = {
    "one temperature, from RAVDESS actors": Way(1.0),
    "one temperature, from corpora left out": Way(0.0),
    **{f"a temperature per window, penalty {x}": Way(0.5, x) for x in PENALTIES},
    **{f"the same, penalty {x}, and a bias per label": Way(0.5, x, has_bias=True) for x in (1.0, 3.0)},
}


def calibrated(material: Material, config: TrainConfig, logits: FloatArray, way: Way) -> FloatArray:
    """Probabilities (n_clips, N), from the logits of heads that did not learn from a clip or its corpus."""
    counts = _counts(material, config, logits, way.home)
    fitted = np.flatnonzero(counts)
    rows = material.rows[:, :0] if way.penalty is None else material.rows
    scored, labels = torch.from_numpy(logits).float(), torch.from_numpy(material.mixture.labels)
    own = (scored[fitted], rows[fitted], labels[fitted], torch.from_numpy(counts[fitted]).float())
    weight, bias = torch.zeros(rows.shape[1], requires_grad=True), torch.zeros((), requires_grad=True)
    of_label = torch.zeros(N, requires_grad=way.has_bias)
    fitting = [weight, bias, of_label][: 3 if way.has_bias else 2]
    optimizer = torch.optim.LBFGS(fitting, max_iter=MAX_ITERATIONS, line_search_fn="strong_wolfe")

    def cooled(some: Tensor, at: Tensor) -> Tensor:
        return (some + of_label) / (at @ weight + bias).clamp(LOWEST, HIGHEST).exp().unsqueeze(1)

    def objective() -> float:
        optimizer.zero_grad()
        loss = functional.cross_entropy(cooled(own[0], own[1]), own[2], reduction="none") @ own[3]
        loss = loss + (way.penalty or 0) * weight.square().sum() + BIAS_PENALTY * of_label.square().sum()
        loss.backward()
        return loss.item()

    optimizer.step(objective)
    with torch.inference_mode():
        return softmax(cooled(scored, rows).double().numpy())


def _counts(material: Material, config: TrainConfig, logits: FloatArray, home: float) -> FloatArray:
    """(n_clips,), their sum 1. The corpora that were left out count equally."""
    ours = material.of("ravdess") & ~np.isnan(logits[:, 0])
    counts = home * ours / ours.sum()
    others = _others(config)
    for name in others:
        here = material.of(name)
        counts = counts + (1 - home) * here / here.sum() / len(others)
    return counts


def results(material: Material, recipe: TrainConfig) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Kind, name and scores of every trial and way of calibration."""
    for name, config in trials(recipe).items():
        logits = unheard(material, config)
        yield "trials", name, tried(material, config, logits)
        if config is recipe:
            every = with_left_out_corpora(material, config, logits)
            for way, settings in WAYS.items():
                probabilities = calibrated(material, config, every, settings)
                yield "calibration", way, asdict(settings) | scores(material, probabilities)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="What other settings of recipes/standard.toml would have given."
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("embeddings"))
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "benchmarks" / "real-voices.json")
    given = parser.parse_args(arguments)
    recipe = TrainConfig.load(RECIPE)
    mixture = mixture_of(rows_of(given.data), recipe)
    rows, kept = components(embeddings_of(given.cache), mixture, recipe)
    document: dict[str, Any] = {"command": COMMAND, "commit": commit(), "kept": kept}
    started = time.perf_counter()
    for kind, name, found in results(Material(mixture, rows), recipe):
        document.setdefault(kind, {})[name] = found
        given.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        short = {key: round(value, 1) for key, value in found.items() if isinstance(value, float)}
        print(f"{time.perf_counter() - started:.0f} s, {name}: {short}", flush=True)


if __name__ == "__main__":
    main()
