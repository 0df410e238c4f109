"""Calibration of a mixture of corpora, by heads that did not hear what they score.

In: a trained job, and its windows. Out: a temperature for each window, and evidence for the thresholds.

A model is more often right on a corpus that it learned from than on an unheard one, so one temperature cannot fit both.
Each corpus is left out in turn, and of the main corpus each fifth of the speakers. A head learns without them and
scores them. The temperature of a window is fitted to all these scores as a function of its embedding (sample-dependent
temperature: Joy et al. 2022, arXiv 2207.06211): low where it sounds like what was learned from, high elsewhere.

The main corpus is the first with labels: the one that a protocol divides.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from speech_emotion.corpora import same_speakers
from speech_emotion.errors import ModelFormatError
from speech_emotion.files import DamagedFileError
from speech_emotion.training.data.embeddings import AugmentedEmbeddings
from speech_emotion.training.data.mixture import IMPOSSIBLE, Mixture, Shares
from speech_emotion.training.data.window_features import WindowFeatures
from speech_emotion.training.fit import calibration, checkpoint
from speech_emotion.training.fit.job import Job
from speech_emotion.training.fit.linear_probe import fit_heads
from speech_emotion.training.networks.base import EmotionNetwork
from speech_emotion.training.networks.build import build, joined
from speech_emotion.training.networks.pair import Network
from speech_emotion.training.sealed_tensors import read_sealed_tensors, write_sealed_tensors

FILE: Final = "temperature.safetensors"
N_GROUPS: Final = 5  # of the speakers of the main corpus
PENALTY: Final = 3.0  # times ‖weight‖², of standardised embeddings
N_EVIDENCE: Final = 1000  # recordings of the main corpus, and as many of the others together
LOWEST, HIGHEST = -1.0, 3.0  # of a log temperature
MAX_ITERATIONS: Final = 60

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TemperatureHead:
    """log temperature = weight · embedding + bias, within LOWEST and HIGHEST. weight: (n_embedding,)."""

    weight: Tensor
    bias: float

    def __call__(self, embedding: Tensor) -> Tensor:
        """(batch, n_embedding) → temperatures (batch, 1)."""
        return (embedding @ self.weight + self.bias).clamp(LOWEST, HIGHEST).exp().unsqueeze(1)

    def write(self, folder: Path) -> None:
        """Keep it in a run folder, for export."""
        write_sealed_tensors(folder / FILE, {"weight": self.weight}, {"bias": self.bias})


def read(folder: Path) -> TemperatureHead | None:
    """The temperature head of a run folder, if it has one."""
    path = folder / FILE
    try:
        tensors, facts = read_sealed_tensors(path)
        return TemperatureHead(tensors["weight"], facts["bias"])
    except FileNotFoundError:
        return None
    except (OSError, DamagedFileError, KeyError) as error:
        raise ModelFormatError(
            f"{path}: not a temperature head ({error}). Delete the run folder and train again."
        ) from error


@dataclass(frozen=True, eq=False)
class _Scored:
    """Windows, as heads that did not hear them score them."""

    windows: IntArray  # index into the features
    logits: FloatArray  # (n_windows, n_labels)
    weight: FloatArray  # (n_windows,); half for the main corpus, half for the others, evenly, by clip


def calibrate(
    job: Job, dataset: Mixture, learned_from: Sequence[AugmentedEmbeddings], data: WindowFeatures
) -> tuple[TemperatureHead, float, dict[str, Any]]:
    """The temperature head; the one temperature that fits the main corpus best; the evidence for thresholds.

    Where no clip can be scored by a head that did not hear it, all temperatures are 1, and there is no evidence.
    """
    network = checkpoint.load_network(job.folder)[0]
    scored = _scored(job, dataset, learned_from, data)
    head = _fit_temperature(network, scored, data)
    embeddings = torch.from_numpy(data.features[scored.windows, : network.n_embedding])
    cooled = scored.logits / head(embeddings).double().numpy()
    clips = data.clip[scored.windows]
    found: dict[str, list[float]] = {"scores": [], "confidences": []}
    for part in _balanced(dataset, np.unique(clips)):
        chosen = np.isin(clips, part)
        recordings, recording = np.unique(clips[chosen], return_inverse=True)
        probabilities = calibration.pooled(cooled[chosen], recording, 1.0)
        for name, values in calibration.evidence(probabilities, data.labels[recordings]).items():
            found[name] += values
    temperature = _one_temperature(scored.logits, clips, dataset)
    return head, temperature, found | {"likeliest_temperature": temperature}


def _one_temperature(logits: FloatArray, clips: IntArray, dataset: Mixture) -> float:
    """The likeliest temperature of the main corpus, or of all windows if it has none; 1 without any window."""
    is_main = dataset.corpus_of[clips] == _main(dataset)
    chosen = is_main if is_main.any() else np.ones(len(clips), bool)
    if not chosen.any():
        return 1.0
    recordings, recording = np.unique(clips[chosen], return_inverse=True)
    return calibration.fit_temperature(logits[chosen], recording, dataset.labels[recordings])


def _balanced(dataset: Mixture, clips: IntArray) -> Iterator[IntArray]:
    """Evenly spaced clips of each corpus: N_EVIDENCE of the main one, and as many of the others together."""
    corpus, main = dataset.corpus_of[clips], _main(dataset)
    others = np.setdiff1d(corpus, [main])
    for part in np.unique(corpus):
        own = clips[corpus == part]
        n = min(N_EVIDENCE if part == main else N_EVIDENCE // len(others), len(own))
        yield own[np.linspace(0, len(own) - 1, n).astype(np.int64)]


def _main(dataset: Mixture) -> int:
    """The index of the first corpus with labels. Where the divided corpus is left out, that is another one."""
    return int(dataset.is_labelled.argmax())


def _scored(
    job: Job, dataset: Mixture, learned_from: Sequence[AugmentedEmbeddings], data: WindowFeatures
) -> _Scored:
    """Every window of a clip that was learned from, by a head that did not learn from it.

    Only clips with windows are learned from here: few clips of every corpus, so that the many heads take minutes.
    """
    train = np.intersect1d(job.sides.train, data.clip)
    labels, has_label = dataset.labels, dataset.is_labelled[dataset.corpus_of]
    windows, logits = [np.zeros(0, np.int64)], [np.zeros((0, len(dataset.label_names)))]
    asked: list[tuple[IntArray, IntArray]] = []  # the windows to score, the clips to learn from
    for held_out in _groups(dataset, train):
        rest = np.setdiff1d(train, held_out)
        known = labels[rest[has_label[rest]]]
        own = np.flatnonzero(np.isin(data.clip, held_out[np.isin(labels[held_out], known)]))
        if len(own):  # others have these labels
            asked.append((own, rest))
    heads = _heads_of(job, dataset, [rest for _, rest in asked], learned_from)
    for (own, rest), head in zip(asked, heads, strict=True):
        with torch.inference_mode():
            scores = head.logits(torch.from_numpy(data.features[own, : head.n_embedding])).double().numpy()
        windows.append(own)
        is_learned = dataset.may_be[rest].any(axis=0)
        logits.append(np.where(is_learned, scores, IMPOSSIBLE))
    every = np.concatenate(windows)
    return _Scored(every, np.concatenate(logits), _weights(dataset, data.clip[every]))


def _groups(dataset: Mixture, train: IntArray) -> Iterator[IntArray]:
    """The clips that a head is fitted without: those of some speakers of the main corpus, or of another corpus."""
    names = np.array([min(same_speakers(part.corpus)) for part in dataset.parts])
    main, name_of = names[_main(dataset)], names[dataset.corpus_of[train]]
    speaker_of = dataset.speakers[train]
    speakers = np.unique(speaker_of[name_of == main])
    for group in range(min(N_GROUPS, len(speakers))):
        yield train[np.isin(speaker_of, speakers[group::N_GROUPS])]
    for name in np.unique(names[dataset.is_labelled]):
        if name != main:
            yield train[name_of == name]


def _heads_of(
    job: Job, dataset: Mixture, learned: Sequence[IntArray], learned_from: Sequence[AugmentedEmbeddings]
) -> list[Network]:
    """For each set of clips a network whose heads learned from their first copies. Only its heads are of use."""
    if not learned:
        return []
    networks: list[list[EmotionNetwork]] = []
    for config, augmented in zip(job.config.parts, learned_from, strict=True):
        rows, of_clip = augmented.rows(np.unique(np.concatenate(learned)), n_copies=1)
        shares = [Shares.of(dataset, clips, config).rows(of_clip) for clips in learned]
        networks.append([build(config, dataset.label_names).eval() for _ in learned])
        fit_heads(networks[-1], rows, shares, config)
    return [joined(job.config, own) for own in zip(*networks, strict=True)]


def _weights(dataset: Mixture, clips: IntArray) -> FloatArray:
    """Of windows of these clips: every clip of a corpus counts equally, the main corpus as much as all others."""
    corpus, main = dataset.corpus_of[clips], _main(dataset)
    windows_of_clip = np.bincount(clips, minlength=len(dataset))[clips]
    clips_of_corpus = np.bincount(dataset.corpus_of[np.unique(clips)], minlength=len(dataset.parts))[corpus]
    n_others = len(np.setdiff1d(corpus, [main]))
    weight = np.where(corpus == main, 1.0, 1 / max(n_others, 1)) / (windows_of_clip * clips_of_corpus)
    return np.asarray(weight / weight.sum())


def _fit_temperature(network: Network, scored: _Scored, data: WindowFeatures) -> TemperatureHead:
    """The likeliest temperature head; its penalty draws it towards one temperature."""
    mean, deviation = network.standard
    scale = 1 / deviation
    embeddings = torch.from_numpy(data.features[scored.windows, : network.n_embedding])
    standard = (embeddings - mean) * scale
    logits, weights = (torch.from_numpy(x).float() for x in (scored.logits, scored.weight))
    labels = torch.from_numpy(data.labels[data.clip[scored.windows]])
    weight, bias = torch.zeros(standard.shape[1], requires_grad=True), torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=MAX_ITERATIONS, line_search_fn="strong_wolfe")

    def objective() -> float:
        optimizer.zero_grad()
        temperature = (standard @ weight + bias).clamp(LOWEST, HIGHEST).exp().unsqueeze(1)
        loss = functional.cross_entropy(logits / temperature, labels, reduction="none") @ weights
        loss = loss + PENALTY * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    optimizer.step(objective)  # type: ignore[no-untyped-call]
    raw = weight.detach() * scale
    return TemperatureHead(raw, bias.item() - float(raw @ mean))
