"""How the settings of recipes/standard.toml were chosen. In: corpora. Out: the scores of each other choice.

    python benchmarks/real_voices/choose.py DATA [--prepared FOLDER] [--out FILE]

Every trial is the recipe with one setting changed, in both networks of its pair, or another prior of its gates. Their
heads learn from the recipe's own augmented embeddings, of which 1024 principal components are kept, so that a head
takes seconds. They are scored on windows of what they did not learn from: the corpora of dev-far, half of the people
of plain speech, and fold by fold the validation actors of luna5, without the fold's test actors. The test actors of
luna5 are never scored.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent))
from clips import FAR, FOUR, PLAIN, folder_of

from speech_emotion.cli.shared import CorpusFolder, prepare_corpus
from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.evaluation import splits
from speech_emotion.evaluation.metrics import ece, uar
from speech_emotion.labels import EMOTIONS
from speech_emotion.provenance import commit
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.data.embeddings import AugmentedEmbeddings
from speech_emotion.training.data.mixture import Mixture, Shares
from speech_emotion.training.data.window_features import WindowFeatures, window_features
from speech_emotion.training.fit.calibration import fit_temperature, pooled
from speech_emotion.training.fit.linear_probe import GATE_PRIOR, Layer, fit_layer, load_layers, problems
from speech_emotion.training.fit.train import materials
from speech_emotion.training.networks.base import Experts
from speech_emotion.training.networks.build import build
from speech_emotion.training.weights import initialise

ROOT: Final = Path(__file__).resolve().parents[2]
RECIPE: Final = ROOT / "recipes" / "standard.toml"
COMMAND: Final = "python benchmarks/real_voices/choose.py DATA"
N_COMPONENTS: Final = 1024
N_FOR_COMPONENTS: Final = 16_000  # rows
SHARES: Final = (0.001, 0.4, 0.5, 0.999)  # a recipe of two networks has no share of 0 or 1
GATE_PRIORS: Final = (0.0, 2.0, 6.0)
MAX_DEVIATIONS: Final = 8.0  # of an embedding; what is farther out is cut
N: Final = len(EMOTIONS)
QUIET: Final = [EMOTIONS.index("neutral"), EMOTIONS.index("calm")]
ANGRY: Final = EMOTIONS.index("angry")

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Layers = list[Layer]  # of the components: the solutions of `problems`


def trials(recipe: TrainConfig) -> dict[str, TrainConfig]:
    """The recipe, and what it could be instead."""

    def both(change: Callable[[TrainConfig], TrainConfig]) -> TrainConfig:
        return replace(change(recipe), second=recipe.second and change(recipe.second))

    def weighted(**weights: float) -> TrainConfig:
        named = {name.replace("_", "-"): weight for name, weight in weights.items()}
        return both(lambda one: replace(one, mixture={**one.mixture, **named}))

    def others(share: float) -> TrainConfig:
        return both(lambda one: replace(one, mixture={name: share * x for name, x in one.mixture.items()}))

    def without(*names: str) -> TrainConfig:
        return both(
            lambda one: replace(
                one, mixture={name: x for name, x in one.mixture.items() if name not in names}
            )
        )

    def probed(**settings: Any) -> TrainConfig:
        return both(lambda one: replace(one, probe=replace(one.probe, **settings)))

    return {
        "the recipe": recipe,
        **{f"the second network has a share of {x}": replace(recipe, second_weight=x) for x in SHARES},
        "without a specialist": probed(specialist_penalty=0.0),
        **{f"penalty of the specialist {x}": probed(specialist_penalty=x) for x in (0.03, 0.3)},
        **{f"penalty {x}": probed(penalty=x) for x in (0.03, 0.3)},
        "4 of 16 copies of the RAVDESS": probed(copies=4),
        **{f"the others count {x} times as much": others(x) for x in (0.5, 2.0, 4.0)},
        "plain speech counts twice": weighted(plain_speech=2 * recipe.mixture[PLAIN]),
        "no label is exclusive": both(lambda one: replace(one, exclusive=())),
        "every label is exclusive": both(lambda one: replace(one, exclusive=EMOTIONS)),
        "without plain speech": without(PLAIN),
        "without TESS and TurEV-DB": without("tess", "turev-db"),
    }


# What heads learn from, and what they are scored on


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows that a user would get, of some clips. rows: (n_windows, n_components); clip: (n_windows,)."""

    rows: Tensor
    clip: IntArray
    labels: IntArray  # (n_clips,), -1 for what is no label of the recipe

    def probabilities(self, logits: FloatArray, temperature: float = 1.0) -> tuple[FloatArray, IntArray]:
        """Of each clip with a known label and a window, (n, N), and its label (n,)."""
        clips, recording = np.unique(self.clip, return_inverse=True)
        known = self.labels[clips] >= 0
        return pooled(logits, recording, temperature)[known], self.labels[clips][known]


@dataclass(frozen=True, eq=False)
class Material:
    """Of one network. rows: (n_rows, n_components) of augmented copies, with clip and number of copy (n_rows,)."""

    mixture: Mixture
    rows: Tensor
    clip: Tensor
    copy: Tensor
    windows: Windows  # of the clips of the mixture that are analysed
    far: dict[str, Windows]

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

    def head(self, config: TrainConfig, left_out: BoolArray) -> Layers:
        """The layers of a head that learned from what a recipe does, without the clips `left_out`."""
        mixture = self.mixture
        learned = mixture.known[mixture.corpus_of, mixture.labels] & self.of(config.corpus, *config.mixture)
        clips = np.flatnonzero(learned & ~left_out)
        n_copies = np.array([config.copies_of(part.corpus) for part in mixture.parts])[mixture.corpus_of]
        is_row = (self.copy < torch.from_numpy(n_copies)[self.clip]) & torch.from_numpy(
            np.isin(self.clip, clips)
        )
        shares = Shares.of(mixture, clips, config).rows(self.clip[is_row])
        rows = self.rows[is_row]
        return [fit_layer(rows, targets, penalty)[:2] for targets, penalty in problems(shares, config)]


def prepared(data: Path, name: str, folder: Path) -> PreparedDataset:
    """One corpus of DATA."""
    return prepare_corpus(CorpusFolder(name, folder_of(data, name)), folder / name)


def materials_of(data: Path, folder: Path, recipe: TrainConfig) -> tuple[list[Material], list[float]]:
    """That of each network, and the part of the square of its embeddings that the components keep."""
    parts = tuple(prepared(data, name, folder) for name in (recipe.corpus, *recipe.mixture))
    mixture = Mixture(parts, recipe.unlabelled)
    found = [material_of(data, folder, part, mixture) for part in recipe.parts]
    return [material for material, _ in found], [kept for _, kept in found]


def material_of(data: Path, folder: Path, recipe: TrainConfig, mixture: Mixture) -> tuple[Material, float]:
    """That of a network, and what its components keep."""
    network = build(recipe, mixture.label_names)
    initialise(network, recipe.init)
    network.eval()
    found = materials(recipe, mixture)[0]
    if not isinstance(found, AugmentedEmbeddings):
        raise TypeError(f"{recipe.name} has no frozen encoder")
    rows, clip = found.rows(np.arange(len(mixture)))
    copy = torch.cat([torch.arange(len(part)).repeat_interleave(part.shape[1]) for part in found.parts])
    every = np.flatnonzero(mixture.known[mixture.corpus_of, mixture.labels])
    basis = Components.of(rows, Shares.of(mixture, every, recipe).rows(clip).weight)

    def windows(features: WindowFeatures, labels: IntArray) -> Windows:
        embeddings = torch.from_numpy(features.features[:, : network.n_embedding])
        return Windows(basis(embeddings), features.clip, labels)

    far = {}
    for name in FAR:
        part = prepared(data, name, folder)
        ours = np.array([EMOTIONS.index(x) if x in EMOTIONS else -1 for x in part.label_names])
        far[name] = windows(window_features(network, recipe, part), ours[part.labels])
    own = windows(window_features(network, recipe, mixture), mixture.labels)
    return Material(mixture, basis(rows), clip, copy, own, far), basis.kept


@dataclass(frozen=True, eq=False)
class Components:
    """Principal components of standardised embeddings; `kept` is their part of the square."""

    mean: Tensor
    scale: Tensor
    basis: Tensor
    kept: float

    @classmethod
    def of(cls, rows: Tensor, weight: Tensor) -> "Components":
        """Those of rows (n, n_embedding) that count by their weight (n,)."""
        mean = weight @ rows
        variance = sum(
            w @ (some - mean).square() for w, some in zip(weight.split(8192), rows.split(8192), strict=True)
        )
        scale = 1 / (variance + 1e-5).sqrt()
        torch.manual_seed(0)
        chosen = torch.multinomial(weight, min(N_FOR_COMPONENTS, int((weight > 0).sum())))
        standard = ((rows[chosen] - mean) * scale).clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS)
        basis = torch.svd_lowrank(standard, q=min(N_COMPONENTS, *standard.shape))[2]
        kept = (standard[::10] @ basis).square().sum() / standard[::10].square().sum()
        return cls(mean, scale, basis, float(kept))

    def __call__(self, rows: Tensor) -> Tensor:
        """(n, n_embedding) → (n, n_components)."""
        parts = [
            ((some - self.mean) * self.scale).clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS) @ self.basis
            for some in rows.split(8192)
        ]
        return torch.cat(parts)


# Scores, in percent


class Pair:
    """The networks of a recipe, whose logits are averaged. A head is fitted once for all trials that have it."""

    def __init__(self, materials: Sequence[Material]) -> None:
        self.materials, self.of_first = materials, materials[0]
        self.gate_prior = GATE_PRIOR
        self._heads: dict[str, Layers] = {}

    def _head(self, index: int, config: TrainConfig, left_out: BoolArray) -> nn.Module:
        settings = config.to_dict()
        key = repr(
            [index, [settings[name] for name in ("mixture", "exclusive", "probe")], left_out.tobytes()]
        )
        if key not in self._heads:
            self._heads[key] = self.materials[index].head(config, left_out)
        layers = self._heads[key]
        linear = (Experts if len(layers) > 1 else nn.Linear)(layers[0][0].shape[1], N)
        load_layers(linear, layers, self.gate_prior)
        return linear

    def logits(
        self, config: TrainConfig, left_out: BoolArray, name: str | None, chosen: BoolArray | None = None
    ) -> tuple[Windows, FloatArray]:
        """The windows of a corpus of dev-far, or of what is learned from, or of some clips; logits (n_windows, N).

        They are those of heads that did not learn from the clips `left_out`.
        """
        weights = (1 - config.second_weight, config.second_weight) if config.second else (1.0,)
        total: Any = 0.0
        for index, (part, weight) in enumerate(zip(config.parts, weights, strict=True)):
            material = self.materials[index]
            windows = material.far[name] if name else material.windows
            if chosen is not None:
                is_chosen = chosen[windows.clip]
                windows = Windows(windows.rows[is_chosen], windows.clip[is_chosen], windows.labels)
            head = self._head(index, part, left_out)
            with torch.inference_mode():
                logits = head(windows.rows)
            total = total + weight * logits.double().numpy()
        return windows, total


def tried(pair: Pair, config: TrainConfig) -> dict[str, Any]:
    """The scores of a recipe, calibrated by the one temperature of the validation actors."""
    validation, logits, chosen, material = [], [], [], pair.of_first
    for fold in splits.protocol("luna5").folds:
        own, given = pair.logits(
            config,
            material.by(fold.test | fold.validation),
            None,
            material.of("ravdess") & material.by(fold.validation),
        )
        probabilities, labels = own.probabilities(given)
        validation.append(100 * uar(labels, probabilities.argmax(axis=1)))
        logits.append(given)
        chosen.append(own.clip)
    clips, recording = np.unique(np.concatenate(chosen), return_inverse=True)
    temperature = fit_temperature(np.concatenate(logits), recording, material.mixture.labels[clips])
    probe = config.probe
    settings = {"penalty": probe.penalty, "copies": [probe.copies, probe.mixture_copies]}
    settings |= {"specialist_penalty": probe.specialist_penalty, "gate_prior": pair.gate_prior}
    second = config.second and {"weight": config.second_weight, "mixture": config.second.mixture}
    return {
        "settings": settings | {"mixture": config.mixture, "exclusive": config.exclusive, "second": second},
        "validation": {"folds": validation, "mean": float(np.mean(validation))},
        "mean validation": float(np.mean(validation)),
        "temperature": temperature,
        **elsewhere(pair, config, temperature),
    }


def elsewhere(pair: Pair, config: TrainConfig, temperature: float) -> dict[str, Any]:
    """On dev-far and on plain speech. `mean`: over the corpora of dev-far."""
    by_corpus, asked = {}, pair.of_first.asked
    for name in FAR:
        own, logits = pair.logits(config, asked, name)
        by_corpus[name] = of_corpus(*own.probabilities(logits, temperature))
    found: dict[str, Any] = {}
    for key in ("four", "all eight", "neutral", "ece"):
        values = [own[key] for own in by_corpus.values() if own[key] is not None]
        found[f"mean {key}"] = float(np.mean(values))
    own, logits = pair.logits(config, asked, None, asked)
    plain = own.probabilities(logits, temperature)[0]
    found["plain: neutral or calm"] = 100 * float(np.isin(plain.argmax(axis=1), QUIET).mean())
    found["plain: angry > 0.8"] = 100 * float((plain[:, ANGRY] > 0.8).mean())
    return {**found, "by corpus": by_corpus}


def of_corpus(probabilities: FloatArray, labels: IntArray) -> dict[str, float | None]:
    """UAR among four emotions and among all eight, recall of neutral, ECE, and the share called calm."""
    four = np.array([EMOTIONS.index(name) for name in FOUR if EMOTIONS.index(name) in labels])
    asked, answer = np.isin(labels, four), probabilities.argmax(axis=1)
    is_neutral = labels == EMOTIONS.index("neutral")
    return {
        "four": 100 * uar(labels[asked], four[probabilities[asked][:, four].argmax(axis=1)]),
        "all eight": 100 * uar(labels, answer),
        "neutral": 100 * float((answer == labels)[is_neutral].mean()) if is_neutral.any() else None,
        "ece": 100 * ece(labels, probabilities),
        "called calm": 100 * float((answer == EMOTIONS.index("calm")).mean()),
    }


def results(pair: Pair, recipe: TrainConfig) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and scores of every trial."""
    for prior in GATE_PRIORS:
        pair.gate_prior = prior
        yield f"the prior of the gate is {prior}", tried(pair, recipe)
    pair.gate_prior = GATE_PRIOR
    for name, config in trials(recipe).items():
        yield name, tried(pair, config)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="What other settings of recipes/standard.toml would have given."
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--prepared", type=Path, default=Path("prepared"))
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "benchmarks" / "real-voices.json")
    given = parser.parse_args(arguments)
    recipe = TrainConfig.load(RECIPE)
    materials, kept = materials_of(given.data, given.prepared, recipe)
    document: dict[str, Any] = {"command": COMMAND, "commit": commit(), "kept": kept, "trials": {}}
    started = time.perf_counter()
    for name, found in results(Pair(materials), recipe):
        document["trials"][name] = found
        given.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        short = {key: round(value, 1) for key, value in found.items() if isinstance(value, float)}
        print(f"{time.perf_counter() - started:.0f} s, {name}: {short}", flush=True)


if __name__ == "__main__":
    main()
