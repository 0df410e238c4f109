"""What a linear head on a frozen speech encoder learns for corpora that it never saw.

    python benchmarks/unheard_corpora.py DATA --whisper tiny.bin base.bin [--cache FOLDER] [--out FILE]

DATA holds the corpora as folders of their published files or with a labels.tsv (file, speaker, label): PUBLISHED and
TABLES. Every clip is embedded once, without augmentation: its middle 4 s, the four moments of each of the first four
layers. A head learns from some corpora and is scored on others (dev-far) and on validation actors of RAVDESS, who are
never test actors of the same fold. Nothing is tuned; it compares encoders, sets of corpora and partial labels under
equal conditions.
"""

import argparse
import csv
import json
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
import whisper

from speech_emotion import corpora
from speech_emotion.audio import SAMPLE_RATE, load
from speech_emotion.errors import SpeechEmotionError
from speech_emotion.evaluation import splits
from speech_emotion.labels import EMOTIONS
from speech_emotion.provenance import commit
from speech_emotion.training.networks.encoder import SpeechEncoder, _moments, normalise
from speech_emotion.training.networks.frontend import LogMel

ROOT: Final = Path(__file__).resolve().parent.parent
WINDOW: Final = 4 * SAMPLE_RATE
MIN_SAMPLES: Final = round(0.3 * SAMPLE_RATE)
N_LAYERS: Final = 4
PENALTY: Final = 1e-3
FOUR: Final = ("neutral", "happy", "sad", "angry")
OPEN: Final = ("cremad", "banglaser")
SHIP: Final = (
    "ravdess",
    "ravdess-song",
    "nemo",
    "emospeech-in",
    "emotiontts-ko",
    "cremad",
    "tess",
    "turev-db",
    "banglaser",
)
FAR: Final = ("ased", "aesdd", "uem-es", "urdu")
PLAIN: Final = "plain"  # read speech and orders without emotion labels
# Folders of DATA: those of published file names, and those with a labels.tsv.
PUBLISHED: Final = {
    "ravdess": "ravdess-speech",
    "ravdess-song": "ravdess-song",
    "cremad": "cremad",
    "tess": "tess",
    "nemo": "nemo",
}
TABLES: Final = {name: name for name in ("emospeech-in", "emotiontts-ko", "turev-db", "banglaser", *FAR)}
TABLES[PLAIN] = "plain-speech/many"


@dataclass(frozen=True)
class Row:
    """One clip."""

    corpus: str
    path: str
    speaker: str
    label: str


def rows_of(data: Path) -> Iterator[Row]:
    """Every clip of DATA. RAVDESS speech and song share their speakers."""
    for name, folder in PUBLISHED.items():
        for clip in corpora.get(name).scan(data / folder):
            speaker = f"{name.removesuffix('-song')}_{clip.speaker}"
            yield Row(name, str(data / folder / clip.path), speaker, clip.label)
    for name, folder in TABLES.items():
        with (data / folder / "labels.tsv").open(encoding="utf-8") as file:
            for line in csv.DictReader(file, delimiter="\t"):
                label = line.get("label") or ""
                yield Row(name, str(data / folder / line["file"]), f"{name}_{line['speaker']}", label)


def embed(rows: list[Row], model: Path, cache: Path) -> npt.NDArray[np.float16]:
    """(n_clips, N_LAYERS, 4 · width): moments of each layer. NaN for what cannot be read or is too short."""
    weights, facts = whisper.decode(model, N_LAYERS)
    width = len(weights["convolutions.0.bias"])
    path = cache / f"{facts['name'].replace(' ', '-')}.npy"
    if path.exists():
        return np.load(path, mmap_mode="r")
    encoder = SpeechEncoder(80, width, N_LAYERS).eval()
    encoder.load_state_dict(weights)
    front_end = LogMel(n_mels=80, n_fft=400, hop=160, fmin_hz=0.0)
    found = np.full((len(rows), N_LAYERS, 4 * width), np.nan, np.float16)
    started = time.perf_counter()
    for index, row in enumerate(rows):
        try:
            samples = load(row.path).samples
        except SpeechEmotionError:
            continue
        start = max(0, len(samples) - WINDOW) // 2
        samples = samples[start : start + WINDOW]
        if len(samples) >= MIN_SAMPLES:
            with torch.inference_mode():
                layers = encoder(normalise(front_end(torch.from_numpy(samples)[None])))
                found[index] = torch.stack([torch.cat(_moments(frames), 1)[0] for frames in layers]).numpy()
        if not index % 1000:
            print(
                f"{facts['name']}: {index} of {len(rows)}, {time.perf_counter() - started:.0f} s",
                file=sys.stderr,
            )
    partial = path.with_suffix(".partial.npy")
    np.save(partial, found)
    partial.replace(path)
    return found


@dataclass(frozen=True)
class Clips:
    """Features (n, n_features) with what is known of each clip."""

    features: Tensor
    corpus: npt.NDArray[np.str_]
    speaker: npt.NDArray[np.str_]
    label: npt.NDArray[np.int64]  # -1 without one

    def of(self, chosen: npt.NDArray[np.bool_]) -> "Clips":
        index = np.flatnonzero(chosen)
        return Clips(self.features[index], self.corpus[index], self.speaker[index], self.label[index])


def clips_of(rows: list[Row], embeddings: npt.NDArray[np.float16], layers: slice) -> Clips:
    features = torch.from_numpy(embeddings[:, layers].reshape(len(rows), -1).astype(np.float32))
    label = np.array([EMOTIONS.index(row.label) if row.label in EMOTIONS else -1 for row in rows])
    known = np.array([row.corpus for row in rows]), np.array([row.speaker for row in rows]), label
    readable = torch.isfinite(features).all(dim=1).numpy() & (features.abs().sum(dim=1) > 0).numpy()
    return Clips(features, *known).of(readable)


def standardised(clips: Clips, by: npt.NDArray[np.str_]) -> Clips:
    """The features of each group of `by` with mean 0 and deviation 1."""
    features = clips.features.clone()
    for group in np.unique(by):
        index = np.flatnonzero(by == group)
        part = features[index]
        features[index] = (part - part.mean(dim=0)) / (part.std(dim=0, correction=0) + 1e-3)
    return Clips(features, clips.corpus, clips.speaker, clips.label)


class Head:
    """Multinomial logistic regression. Every corpus counts as much, and in it every label.

    With `partial` a clip says nothing about the labels that its corpus does not have.
    """

    def __init__(self, clips: Clips, *, partial: bool) -> None:
        clips = clips.of(clips.label >= 0)
        self.mean, self.deviation = clips.features.mean(dim=0), clips.features.std(dim=0) + 1e-3
        rows = (clips.features - self.mean) / self.deviation
        label = torch.from_numpy(clips.label)
        weight, allowed = torch.zeros(len(label)), torch.ones(len(label), len(EMOTIONS), dtype=torch.bool)
        for corpus in np.unique(clips.corpus):
            inside = torch.from_numpy(clips.corpus == corpus)
            counts = torch.bincount(label[inside], minlength=len(EMOTIONS))
            usable = counts >= 10  # CREMA-D here has two neutral clips
            weight[inside] = (
                (1.0 / counts.clamp(min=1)).float()[label[inside]] * usable[label[inside]] / usable.sum()
            )
            if partial:
                allowed[inside] = usable
        weight /= weight.sum()
        self.matrix = self._fit(rows, label, weight, allowed)

    @staticmethod
    def _fit(rows: Tensor, label: Tensor, weight: Tensor, allowed: Tensor) -> Tensor:
        matrix = torch.zeros(len(EMOTIONS), rows.shape[1] + 1, requires_grad=True)
        optimizer = torch.optim.LBFGS([matrix], max_iter=60, line_search_fn="strong_wolfe")

        def objective() -> Tensor:
            optimizer.zero_grad()
            logits = torch.addmm(matrix[:, -1], rows, matrix[:, :-1].T).masked_fill(~allowed, -1e4)
            loss = (torch.nn.functional.cross_entropy(logits, label, reduction="none") * weight).sum()
            loss = loss + PENALTY * matrix[:, :-1].square().sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimizer.step(objective)  # type: ignore[no-untyped-call]
        return matrix.detach()

    def log_probabilities(self, clips: Clips) -> Tensor:
        rows = (clips.features - self.mean) / self.deviation
        return torch.log_softmax(rows @ self.matrix[:, :-1].T + self.matrix[:, -1], dim=1)


def recalls(log_probabilities: Tensor, label: npt.NDArray[np.int64], among: list[int]) -> dict[str, float]:
    """Percent right of each label of `among`, where only these may be answered."""
    answer = np.array(among)[log_probabilities[:, among].argmax(dim=1).numpy()]
    return {EMOTIONS[k]: 100 * float((answer[label == k] == k).mean()) for k in among if (label == k).any()}


def far_scores(log_probabilities: Tensor, clips: Clips) -> dict[str, Any]:
    """Per corpus: UAR among four emotions, among its own, among all eight; recall of neutral among all eight."""
    found: dict[str, Any] = {}
    four, everything = [EMOTIONS.index(name) for name in FOUR], list(range(len(EMOTIONS)))
    for corpus in FAR:
        inside = clips.corpus == corpus
        log_p, label = log_probabilities[np.flatnonzero(inside)], clips.label[inside]
        own = sorted({int(k) for k in label if k >= 0})
        among_all = recalls(log_p, label, everything)
        found[corpus] = {
            "four": np.mean(list(recalls(log_p, label, [k for k in four if k in own]).values())),
            "own": np.mean(list(recalls(log_p, label, own).values())),
            "all eight": np.mean([among_all[EMOTIONS[k]] for k in own]),
            "neutral of all eight": among_all.get("neutral"),
        }
    found["mean of four"] = float(np.mean([found[corpus]["four"] for corpus in FAR]))
    plain = log_probabilities[np.flatnonzero(clips.corpus == PLAIN)].exp()
    quiet = plain[:, [EMOTIONS.index("neutral"), EMOTIONS.index("calm")]].sum(dim=1)
    angry = plain[:, EMOTIONS.index("angry")]
    found["plain speech called neutral or calm"] = 100 * float((plain.argmax(dim=1) < 2).float().mean())
    found["plain speech, mean probability of neutral or calm"] = 100 * float(quiet.mean())
    found["plain speech angry with more than 0.8"] = 100 * float((angry > 0.8).float().mean())
    return found


def validation_uar(clips: Clips, learned: tuple[str, ...], *, partial: bool) -> list[float]:
    """UAR of the validation actors of each fold of luna5; neither they nor the test actors are learned from."""
    scores = []
    for fold in splits.protocol("luna5").folds:
        held_out = {f"ravdess_{actor}" for actor in (*fold.test, *fold.validation)}
        inner = {f"ravdess_{actor}" for actor in fold.validation}
        head = Head(
            clips.of(np.isin(clips.corpus, learned) & ~np.isin(clips.speaker, list(held_out))),
            partial=partial,
        )
        asked = clips.of((clips.corpus == "ravdess") & np.isin(clips.speaker, list(inner)))
        found = recalls(head.log_probabilities(asked), asked.label, list(range(len(EMOTIONS))))
        scores.append(float(np.mean(list(found.values()))))
    return scores


def measure(clips: Clips, learned: tuple[str, ...], *, partial: bool) -> tuple[dict[str, Any], Tensor]:
    head = Head(clips.of(np.isin(clips.corpus, learned)), partial=partial)
    log_probabilities = head.log_probabilities(clips)
    found = far_scores(log_probabilities, clips)
    by_group = standardised(clips, np.where(np.isin(clips.corpus, learned), clips.speaker, clips.corpus))
    normed = Head(by_group.of(np.isin(clips.corpus, learned)), partial=partial)
    found["standardised"] = far_scores(normed.log_probabilities(by_group), by_group)["mean of four"]
    if "ravdess" in learned:
        scores = validation_uar(clips, learned, partial=partial)
        found["validation"] = {"folds": scores, "mean": float(np.mean(scores))}
    return found, log_probabilities


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Heads on frozen encoders, scored on corpora they never saw."
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--whisper", type=Path, nargs=2, required=True, metavar=("TINY", "BASE"))
    parser.add_argument("--cache", type=Path, default=Path("embeddings"))
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "benchmarks" / "unheard-corpora.json")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    rows = list(rows_of(arguments.data))
    systems = {
        "whisper-tiny, layers 1-2": clips_of(
            rows, embed(rows, arguments.whisper[0], arguments.cache), slice(0, 2)
        ),
        "whisper-base, layers 2-4": clips_of(
            rows, embed(rows, arguments.whisper[1], arguments.cache), slice(1, 4)
        ),
    }
    trials: list[dict[str, Any]] = []
    for learned_name, learned in {"ravdess": ("ravdess",), "ship": SHIP, "open": OPEN}.items():
        for partial in (False, True) if len(learned) > 1 else (False,):
            together: list[Tensor] = []
            for name, clips in systems.items():
                found, log_probabilities = measure(clips, learned, partial=partial)
                together.append(log_probabilities)
                trials.append(
                    {"encoder": name, "learned from": learned_name, "partial labels": partial, **found}
                )
                print(json.dumps(trials[-1]), flush=True)
            mean = far_scores(torch.stack(together).mean(dim=0), clips)
            trials.append(
                {
                    "encoder": "both, mean of logits",
                    "learned from": learned_name,
                    "partial labels": partial,
                    **mean,
                }
            )
            print(json.dumps(trials[-1]), flush=True)
    document = {
        "command": shlex.join(["python", "benchmarks/unheard_corpora.py", *sys.argv[1:]]),
        "commit": commit(),
        "n_clips": len(rows),
        "corpora": {"ship": SHIP, "open": OPEN, "far": FAR},
        "trials": trials,
    }
    arguments.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
