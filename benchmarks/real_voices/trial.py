"""Which head on a frozen encoder holds for people and corpora it never heard. In: the cache of embed.py.

    python benchmarks/real_voices/trial.py DATA --cache FOLDER [--only NAME …] [--out FILE]

Every trial of TRIALS learns from corpora that may ship and is scored on the corpora of dev-far, on plain speech and,
fold by fold, on the validation actors of luna5; nobody of the test actors of a fold is learned from in it. One seed.

A head is linear, or has one hidden layer. Each step draws one copy of its clips. The weight of a clip is that of its
corpus, divided evenly over the labels of the corpus and then over the clips of the label; labels with fewer than ten
clips have none. A clip says nothing about labels that its corpus does not have (partial labels): they are left out of
its softmax. Plain speech says "neutral or calm": the loss is the logarithm of the sum of both.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent))
from clips import FAR, FOUR, PLAIN, SHIP, rows_of

from speech_emotion.evaluation import splits
from speech_emotion.evaluation.metrics import ece, uar
from speech_emotion.labels import EMOTIONS
from speech_emotion.provenance import commit
from speech_emotion.training.fit.calibration import fit_temperature, softmax

ROOT: Final = Path(__file__).resolve().parents[2]
N: Final = len(EMOTIONS)
QUIET: Final = [EMOTIONS.index("neutral"), EMOTIONS.index("calm")]
ANGRY: Final = EMOTIONS.index("angry")
BATCH: Final = 256
LEAST: Final = 10  # clips of a label in a corpus


@dataclass(frozen=True)
class Trial:
    """One set of settings. `systems`: encoder → its layers, from 0; the heads' logits are averaged."""

    systems: tuple[tuple[str, int, int], ...] = (("base", 1, 4),)
    learned: tuple[str, ...] = (*SHIP, PLAIN)
    weights: tuple[tuple[str, float], ...] = (("ravdess", 4.0),)
    hidden: int = 0
    partial: bool = True
    copies: int = 7
    epochs: int = 12
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    dropout: float = 0.3
    mixup: float = 0.0
    per_speaker: bool = (
        False  # features of every speaker standardised; of an unheard corpus those of the corpus
    )


TINY, BOTH = (("tiny", 0, 2),), (("base", 1, 4), ("tiny", 0, 2))
TRIALS: Final = {
    "base": Trial(),
    "tiny": Trial(systems=TINY),
    "base and tiny": Trial(systems=BOTH),
    "base, one clean copy": Trial(copies=1),
    "base, without partial labels": Trial(partial=False),
    "base, without plain speech": Trial(learned=SHIP),
    "base, RAVDESS as any": Trial(weights=()),
    "base, RAVDESS 16": Trial(weights=(("ravdess", 16.0),)),
    "base, layers 1-3": Trial(systems=(("base", 0, 3),)),
    "base, hidden 256": Trial(hidden=256, learning_rate=5e-4),
    "base, hidden 256, mixup": Trial(hidden=256, learning_rate=5e-4, mixup=0.3),
    "base, RAVDESS alone": Trial(learned=("ravdess",), weights=()),
    "base, per speaker": Trial(per_speaker=True),
    "tiny, per speaker": Trial(systems=TINY, per_speaker=True),
    "base, without TESS and TurEV-DB": Trial(
        learned=tuple(name for name in (*SHIP, PLAIN) if name not in ("tess", "turev-db"))
    ),
    "open: CREMA-D and plain speech": Trial(learned=("cremad", PLAIN), weights=()),
}


@dataclass(eq=False)
class Clips:
    """What is known of every clip, and its embeddings (n_copies, n_clips, n_features) by encoder."""

    corpus: npt.NDArray[np.str_]
    speaker: npt.NDArray[np.str_]
    label: npt.NDArray[np.int64]  # -1 without one
    cache: Path
    known: dict[tuple[str, int, int], Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, data: Path, cache: Path) -> "Clips":
        rows = list(rows_of(data))
        label = np.array([EMOTIONS.index(row.label) if row.label in EMOTIONS else -1 for row in rows])
        corpus, speaker = np.array([row.corpus for row in rows]), np.array([row.speaker for row in rows])
        label[corpus == PLAIN] = EMOTIONS.index("neutral")
        bounds = np.load(cache / "bounds.npy")
        label[bounds[1:] == bounds[:-1]] = -1  # could not be read
        return cls(corpus, speaker, label, cache)

    def embeddings(self, system: tuple[str, int, int]) -> Tensor:
        if system not in self.known:
            self.known.clear()  # one encoder at a time fits into memory
            name, first, last = system
            copies = []
            for copy in range(len(list(self.cache.glob(f"{name}-*-0.npy")))):
                parts = [
                    np.load(path, mmap_mode="r")[:, first:last]
                    for path in sorted(self.cache.glob(f"{name}-{copy}-?.npy"))
                ]
                copies.append(np.concatenate([part.reshape(len(part), -1) for part in parts]))
            self.known[system] = torch.from_numpy(np.nan_to_num(np.stack(copies)))
        return self.known[system]


def standardised(rows: Tensor, group: npt.NDArray[np.str_]) -> Tensor:
    """(n_copies, n, n_features) → every group of every copy with mean 0 and deviation 1."""
    found = torch.empty_like(rows)
    for name in np.unique(group):
        index = np.flatnonzero(group == name)
        part = rows[:, index].float()
        centred = part - part.mean(dim=1, keepdim=True)
        found[:, index] = (centred / (part.std(dim=1, correction=0, keepdim=True) + 1e-2)).half()
    return found


def targets(clips: Clips, index: npt.NDArray[np.int64], trial: Trial) -> tuple[Tensor, Tensor, Tensor]:
    """Weight (n,), spoken (n, k) and allowed (n, k) of the clips at `index`."""
    label, corpus = clips.label[index], clips.corpus[index]
    weight, spoken = np.zeros(len(index)), np.eye(N, dtype=bool)[label]
    allowed = np.ones((len(index), N), bool)
    factor = dict(trial.weights)
    for name in np.unique(corpus):
        inside = corpus == name
        counts = np.bincount(label[inside], minlength=N)
        usable = counts >= LEAST
        weight[inside] = (
            factor.get(name, 1.0) * (usable / np.maximum(counts, 1) / usable.sum())[label[inside]]
        )
        if name == PLAIN:
            spoken[np.ix_(inside, QUIET)] = True
        elif trial.partial:
            allowed[inside] = usable
    return (
        torch.from_numpy(weight / weight.mean()).float(),
        torch.from_numpy(spoken),
        torch.from_numpy(allowed),
    )


def fit(rows: Tensor, goal: tuple[Tensor, Tensor, Tensor], trial: Trial) -> nn.Module:
    """A head for rows (n_copies, n, n_features)."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    weight, spoken, allowed = goal
    n_features = rows.shape[2]
    norm = nn.BatchNorm1d(n_features, affine=False)
    sample = rows[:, :: max(1, rows.shape[1] // 4000)].flatten(0, 1).float()
    norm.running_mean, norm.running_var = sample.mean(dim=0), sample.var(dim=0)
    norm.eval()
    standard = [
        torch.cat([norm(part.float()).clamp(-8, 8).bfloat16() for part in copy.split(2048)])
        for copy in rows[: trial.copies]
    ]
    layers = [nn.Linear(n_features, N)]
    if trial.hidden:
        layers = [
            nn.Linear(n_features, trial.hidden),
            nn.GELU(),
            nn.Dropout(trial.dropout),
            nn.Linear(trial.hidden, N),
        ]
    head = nn.Sequential(norm, *layers)
    optimizer = torch.optim.AdamW(head[1:].parameters(), trial.learning_rate, weight_decay=trial.weight_decay)
    usable = torch.nonzero(weight > 0)[:, 0]
    n_steps = trial.epochs * (-(-len(usable) // BATCH))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, trial.learning_rate, total_steps=n_steps)
    for _ in range(trial.epochs):
        head[1:].train()
        order = usable[torch.randperm(len(usable))]
        for batch in torch.split(order, BATCH):
            x = standard[int(torch.randint(len(standard), ()))][batch]
            other, share = torch.randperm(len(batch)), 1.0
            if trial.mixup:
                share = float(rng.beta(trial.mixup, trial.mixup))
                x = share * x + (1 - share) * x[other]
            with torch.autocast("cpu", torch.bfloat16):
                logits = head[1:](x)
            losses = share * nll(logits.float(), batch, spoken, allowed) * weight[batch]
            if trial.mixup:
                losses = (
                    losses
                    + (1 - share) * nll(logits.float(), batch[other], spoken, allowed) * weight[batch[other]]
                )
            optimizer.zero_grad()
            losses.mean().backward()
            optimizer.step()
            schedule.step()
    return head.eval()


def nll(logits: Tensor, batch: Tensor, spoken: Tensor, allowed: Tensor) -> Tensor:
    among = logits.masked_fill(~allowed[batch], -1e4)
    return among.logsumexp(dim=1) - among.masked_fill(~spoken[batch], -1e4).logsumexp(dim=1)


@torch.inference_mode()
def logits_of(head: nn.Module, rows: Tensor) -> npt.NDArray[np.float64]:
    return np.concatenate(
        [head[1:](head[0](part.float()).clamp(-8, 8)).double().numpy() for part in rows.split(2048)]
    )


def far_scores(logits: npt.NDArray[np.float64], clips: Clips, temperature: float) -> dict[str, Any]:
    """Per corpus: UAR of four emotions, of its own, of all eight; recall of neutral; ECE among all eight."""
    found: dict[str, Any] = {}
    four = [EMOTIONS.index(name) for name in FOUR]
    for name in FAR:
        inside = np.flatnonzero((clips.corpus == name) & (clips.label >= 0))
        label, scores = clips.label[inside], logits[inside]
        own = sorted(set(label.tolist()))
        asked = np.isin(label, four)
        among = [k for k in four if k in own]
        probabilities = softmax(scores / temperature)
        answer = probabilities.argmax(axis=1)
        neutral = label == QUIET[0]
        found[name] = {
            "four": 100 * uar(label[asked], np.array(among)[scores[asked][:, among].argmax(axis=1)]),
            "own": 100 * uar(label, np.array(own)[scores[:, own].argmax(axis=1)]),
            "all eight": 100 * uar(label, answer),
            "neutral": 100 * float((answer[neutral] == QUIET[0]).mean()) if neutral.any() else None,
            "ece": 100 * ece(label, probabilities),
        }
    for key in ("four", "all eight", "neutral", "ece"):
        values = [found[name][key] for name in FAR if found[name][key] is not None]
        found[f"mean {key}"] = float(np.mean(values))
    plain = softmax(logits[np.flatnonzero(clips.corpus == PLAIN)] / temperature)
    found["plain: neutral or calm"] = 100 * float((plain.argmax(axis=1) < 2).mean())
    found["plain: angry > 0.8"] = 100 * float((plain[:, ANGRY] > 0.8).mean())
    return found


def run(trial: Trial, clips: Clips) -> dict[str, Any]:
    """Half of the people of plain speech are learned from and the other half asked, and the other way round."""
    learned = np.isin(clips.corpus, trial.learned) & (clips.label >= 0)
    plain = clips.corpus == PLAIN
    half = np.array([sum(name.encode()) % 2 for name in clips.speaker]) == 0
    folds = splits.protocol("luna5").folds
    jobs = [learned & ~(plain & ~half), learned & ~(plain & half)]
    if "ravdess" in trial.learned:
        held = [np.isin(clips.speaker, [f"ravdess_{a}" for a in (*f.test, *f.validation)]) for f in folds]
        jobs += [learned & ~one for one in held]
    totals: list[Any] = [0.0] * len(jobs)
    for system in trial.systems:
        rows = clips.embeddings(system)
        if trial.per_speaker:
            is_far = np.isin(clips.corpus, [*FAR, PLAIN])
            rows = standardised(rows, np.where(is_far, clips.corpus, clips.speaker))
        for number, chosen in enumerate(jobs):
            index = np.flatnonzero(chosen)
            head = fit(rows[:, index], targets(clips, index, trial), trial)
            totals[number] = totals[number] + logits_of(head, rows[0]) / len(trial.systems)
    far = np.where((plain & half)[:, None], totals[1], totals[0])
    validation, logits, labels = [], [], []
    for fold, scores in zip(folds, totals[2:], strict=False):
        asked = (clips.corpus == "ravdess") & np.isin(
            clips.speaker, [f"ravdess_{a}" for a in fold.validation]
        )
        validation.append(100 * uar(clips.label[asked], scores[asked].argmax(axis=1)))
        logits.append(scores[asked])
        labels.append(clips.label[asked])
    temperature = 1.0
    if logits:
        every, truth = np.concatenate(logits), np.concatenate(labels)
        temperature = fit_temperature(every, np.arange(len(truth)), truth)
    return {
        "validation": {"folds": validation, "mean": float(np.mean(validation)) if validation else None},
        "temperature": temperature,
        **far_scores(far, clips, temperature),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Heads on frozen encoders, scored on corpora they never saw."
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("embeddings"))
    parser.add_argument("--only", nargs="+", choices=TRIALS, default=list(TRIALS))
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "benchmarks" / "real-voices.json")
    arguments = parser.parse_args()
    clips = Clips.of(arguments.data, arguments.cache)
    document: dict[str, Any] = {"trials": {}}
    if arguments.out.exists():
        document = json.loads(arguments.out.read_text(encoding="utf-8"))
    for name in arguments.only:
        started = time.perf_counter()
        found = {"settings": asdict(TRIALS[name]), **run(TRIALS[name], clips)}
        document["trials"][name] = {"commit": commit(), **found}
        document["command"] = "python benchmarks/real_voices/trial.py DATA"
        arguments.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        short = {key: round(found[key], 1) for key in found if key.startswith(("mean", "plain", "temp"))}
        print(
            f"{name}: validation {found['validation']['mean']} {short}, {time.perf_counter() - started:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
