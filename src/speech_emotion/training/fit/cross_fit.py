"""Calibration of a mixture of corpora, by heads that did not hear what they score.

In: a trained job, and its windows. Out: a temperature for each window, and evidence for the thresholds.

A model is more often right on a corpus that it learned from than on an unheard one, so one temperature cannot fit both.
Each corpus is left out in turn, and of the divided corpus each fifth of the speakers. A head learns without them and
scores them. The temperature of a window is fitted to all these scores as a function of its embedding (sample-dependent
temperature: Joy et al. 2022, arXiv 2207.06211): low where it sounds like what was learned from, high elsewhere.
"""

from collections.abc import Iterator
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
from speech_emotion.training.data.mixture import Mixture, Shares
from speech_emotion.training.data.window_features import WindowFeatures
from speech_emotion.training.fit import calibration, checkpoint
from speech_emotion.training.fit.job import Job
from speech_emotion.training.fit.linear_probe import fit_head
from speech_emotion.training.networks.base import EmotionNetwork
from speech_emotion.training.networks.build import build
from speech_emotion.training.sealed_tensors import read_sealed_tensors, write_sealed_tensors

FILE: Final = "temperature.safetensors"
N_GROUPS: Final = 5  # of the speakers of the divided corpus
PENALTY: Final = 3.0  # times ‖weight‖², of standardised embeddings
N_EVIDENCE: Final = 1000  # recordings of the divided corpus, and as many of the others together
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
        raise ModelFormatError(f"{path}: not a temperature head ({error}). Delete the run folder.") from error


@dataclass(frozen=True, eq=False)
class _Scored:
    """Windows, as heads that did not hear them score them."""

    windows: IntArray  # index into the features
    logits: FloatArray  # (n_windows, n_labels)
    weight: FloatArray  # (n_windows,); half for the divided corpus, half for the others, evenly, by clip


def calibrate(
    job: Job, dataset: Mixture, augmented: AugmentedEmbeddings, data: WindowFeatures
) -> tuple[TemperatureHead, float, dict[str, Any]]:
    """The temperature head; the one temperature that fits the divided corpus best; the evidence for thresholds."""
    network: Any = checkpoint.load_network(job.folder)[0]
    scored = _scored(job, dataset, augmented, data)
    head = _fit_temperature(network, scored, data)
    clips = data.clip[scored.windows]
    is_home = dataset.corpus_of[clips] == 0
    some = is_home if is_home.any() else np.ones(len(clips), bool)
    home, recording = np.unique(clips[some], return_inverse=True)
    temperature = calibration.fit_temperature(scored.logits[some], recording, data.labels[home])
    embeddings = torch.from_numpy(data.features[scored.windows, : network.n_embedding])
    cooled = scored.logits / head(embeddings).double().numpy()
    found: dict[str, list[float]] = {"scores": [], "confidences": []}
    for part in _balanced(dataset.corpus_of[np.unique(clips)], np.unique(clips)):
        chosen = np.isin(clips, part)
        kept, recording = np.unique(clips[chosen], return_inverse=True)
        evidence = calibration.evidence(calibration.pooled(cooled[chosen], recording, 1.0), data.labels[kept])
        for name, values in evidence.items():
            found[name] += values
    return head, temperature, found | {"likeliest_temperature": temperature}


def _balanced(corpus: IntArray, clips: IntArray) -> Iterator[IntArray]:
    """Evenly spaced clips of each corpus: N_EVIDENCE of the divided one, and as many of the others together."""
    others = np.setdiff1d(corpus, [0])
    for name in np.unique(corpus):
        own = clips[corpus == name]
        n = min(N_EVIDENCE if name == 0 else N_EVIDENCE // len(others), len(own))
        yield own[np.linspace(0, len(own) - 1, n).astype(np.int64)]


def _scored(job: Job, dataset: Mixture, augmented: AugmentedEmbeddings, data: WindowFeatures) -> _Scored:
    """Every window of a clip that was learned from, by a head that did not learn from it."""
    windows, logits = [], []
    for held_out in _groups(dataset, job.sides.train):
        head, known = _without(job, dataset, held_out, augmented)
        asked = held_out[np.isin(dataset.labels[held_out], known)]
        own = np.flatnonzero(np.isin(data.clip, asked))
        with torch.inference_mode():
            embeddings = torch.from_numpy(data.features[own, : head.n_embedding])
            logits.append(head.logits(embeddings).double().numpy())
        windows.append(own)
    every = np.concatenate(windows)
    return _Scored(every, np.concatenate(logits), _weights(dataset, data.clip[every]))


def _groups(dataset: Mixture, train: IntArray) -> Iterator[IntArray]:
    """The clips that a head is fitted without: those of some speakers of the divided corpus, or of another corpus."""
    home = same_speakers(dataset.parts[0].corpus)
    names = np.array([min(same_speakers(part.corpus)) for part in dataset.parts])
    is_labelled = np.array([part.corpus not in dataset.unlabelled for part in dataset.parts])
    of_clip = dataset.corpus_of[train]
    speakers = np.unique(dataset.speakers[train][names[of_clip] == min(home)])
    for group in range(min(N_GROUPS, len(speakers))):
        yield train[np.isin(dataset.speakers[train], speakers[group::N_GROUPS])]
    for name in np.unique(names[is_labelled]):
        if name != min(home):
            yield train[names[of_clip] == name]


def _without(
    job: Job, dataset: Mixture, held_out: IntArray, augmented: AugmentedEmbeddings
) -> tuple[EmotionNetwork, IntArray]:
    """A network whose head learned from the first copy of all other clips, and the labels that it knows."""
    rest = np.setdiff1d(job.sides.train, held_out)
    network = build(job.config, dataset.label_names)
    shares = Shares.of(dataset, rest, job.config).rows(torch.from_numpy(rest))
    labels = torch.from_numpy(dataset.labels[rest])
    fit_head(network, augmented.embeddings[0, rest].float(), labels, job.config, shares)
    return network.eval(), np.unique(dataset.labels[rest])


def _weights(dataset: Mixture, clips: IntArray) -> FloatArray:
    """Of windows of these clips: every clip of a corpus counts equally, the divided corpus as much as all others."""
    corpus = dataset.corpus_of[clips]
    windows_of_clip = np.bincount(clips, minlength=len(dataset))[clips]
    clips_of_corpus = np.bincount(dataset.corpus_of[np.unique(clips)], minlength=len(dataset.parts))[corpus]
    n_others = len(np.setdiff1d(corpus, [0]))
    weight = np.where(corpus == 0, 1.0, 1 / max(n_others, 1)) / (windows_of_clip * clips_of_corpus)
    return np.asarray(weight / weight.sum())


def _fit_temperature(network: EmotionNetwork, scored: _Scored, data: WindowFeatures) -> TemperatureHead:
    """The likeliest temperature head; its penalty draws it towards one temperature."""
    norm: Any = network.head[0]
    mean, scale = norm.running_mean, 1 / (norm.running_var + norm.eps).sqrt()
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
