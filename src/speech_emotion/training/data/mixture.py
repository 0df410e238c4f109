"""Several corpora as one. In: prepared datasets. Out: a dataset of all their clips, and how much each clip counts.

Every corpus counts by its weight, and within it every label equally. A clip says nothing about labels that its corpus
does not have, unless the recipe calls them exclusive. A clip without a label says that it is one of several (partial
labels: Cour et al. 2011, JMLR 12).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from speech_emotion.corpora import Clip, same_speakers
from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.errors import ConfigError
from speech_emotion.files import digest
from speech_emotion.labels import UNLABELLED, in_order
from speech_emotion.training.config import TrainConfig

IMPOSSIBLE: Final = -1e9  # a logit; finite, because 0 · ∞ is not a number
MIN_CLIPS: Final = 10  # of a label in a corpus; one with fewer is not learned from that corpus


@dataclass(frozen=True, eq=False)
class Mixture:
    """The clips of several corpora, one corpus after the other. A protocol divides the first.

    unlabelled: of a corpus without labels, what its clips may be.
    """

    parts: tuple[PreparedDataset, ...]
    unlabelled: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for part in self.parts:
            may_be, name = self.unlabelled.get(part.corpus, ()), part.corpus
            if may_be and UNLABELLED not in part.label_names:
                raise ConfigError(f"{name} has labels of its own. Leave it out of the recipe's [unlabelled].")
            if UNLABELLED in part.label_names and not may_be:
                raise ConfigError(
                    f"{name} has no labels. Add a column label to its table, or name it in the recipe's [mixture] and "
                    f'say in [unlabelled] what its recordings may be: {name} = ["neutral", "calm"].'
                )
            if unknown := set(may_be) - set(self.label_names):
                corpora = ", ".join(
                    other.corpus for other in self.parts if other.corpus not in self.unlabelled
                )
                raise ConfigError(
                    f"unlabelled: {name} may be {', '.join(sorted(unknown))}, which is no label of {corpora}."
                )

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The index of the first clip of each corpus."""
        return tuple(accumulate(map(len, self.parts[:-1]), initial=0))

    @cached_property
    def clips(self) -> list[Clip]:
        """All clips."""
        return [clip for part in self.parts for clip in part.clips]

    @cached_property
    def label_names(self) -> tuple[str, ...]:
        """The labels of all corpora, in the order of a model's outputs."""
        return in_order(
            label for part in self.parts for label in part.label_names if part.corpus not in self.unlabelled
        )

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """Of each clip, the index into `label_names`; without a label, of the first that it may be."""
        ours = {label: index for index, label in enumerate(self.label_names)}
        names = [self.unlabelled.get(part.corpus, part.label_names) for part in self.parts]
        maps = [np.array([ours[label] for label in given], np.int64) for given in names]
        return np.concatenate([ours_of[part.labels] for ours_of, part in zip(maps, self.parts, strict=True)])

    @cached_property
    def speakers(self) -> npt.NDArray[np.str_]:
        """Of each clip `corpus:speaker`; corpora that share their speakers have one name for them."""
        return np.array(
            [f"{min(same_speakers(part.corpus))}:{name}" for part in self.parts for name in part.speakers]
        )

    @cached_property
    def known(self) -> npt.NDArray[np.bool_]:
        """(n_corpora, n_labels): whether a corpus has at least MIN_CLIPS of a label."""
        n_labels = len(self.label_names)
        own = np.split(self.labels, self.starts[1:])
        return np.stack([np.bincount(labels, minlength=n_labels) >= MIN_CLIPS for labels in own])

    @cached_property
    def may_be(self) -> npt.NDArray[np.bool_]:
        """(n_clips, n_labels): its own label, or those that a clip without one may have."""
        found = np.eye(len(self.label_names), dtype=bool)[self.labels]
        for index, part in enumerate(self.parts):
            if names := self.unlabelled.get(part.corpus):
                found[self.corpus_of == index] = np.isin(self.label_names, names)
        return found

    @cached_property
    def is_labelled(self) -> npt.NDArray[np.bool_]:
        """(n_corpora,): whether the clips of a corpus have labels."""
        return np.array([part.corpus not in self.unlabelled for part in self.parts])

    @cached_property
    def corpus_of(self) -> npt.NDArray[np.int64]:
        """Of each clip, the index into `parts`."""
        return np.repeat(np.arange(len(self.parts)), [len(part) for part in self.parts])

    @property
    def corpus_hash(self) -> str:
        """Changes with the recordings of any corpus."""
        return digest([part.corpus_hash for part in self.parts])

    @property
    def key(self) -> str:
        """Changes with the key of any corpus."""
        return digest([part.key for part in self.parts])

    @property
    def licence(self) -> str:
        """The licences of all corpora, each once."""
        return "; ".join(dict.fromkeys(part.licence for part in self.parts))

    @property
    def citation(self) -> str:
        """The citations of all corpora, each once."""
        return " ".join(dict.fromkeys(part.citation for part in self.parts))

    def without(self, corpora: Collection[str]) -> "Mixture":
        """The other corpora. Recordings without labels can only be what these still have labels for."""
        kept = [part for part in self.parts if part.corpus not in corpora]
        names = {label for part in kept if part.corpus not in self.unlabelled for label in part.label_names}
        may_be = {
            corpus: tuple(label for label in labels if label in names)
            for corpus, labels in self.unlabelled.items()
        }
        return Mixture(tuple(part for part in kept if may_be.get(part.corpus) != ()), may_be)

    def waveform(self, i: int) -> npt.NDArray[np.float32]:
        """Clip `i`: (n_samples,) float32 at 16 kHz."""
        part = int(self.corpus_of[i])
        return self.parts[part].waveform(i - self.starts[part])

    def seconds(self, i: int) -> float:
        """The length of clip `i`."""
        part = int(self.corpus_of[i])
        return self.parts[part].seconds(i - self.starts[part])


Dataset = PreparedDataset | Mixture


def parts_of(dataset: Dataset) -> tuple[PreparedDataset, ...]:
    """The corpora of a dataset, the one that a protocol divides first."""
    return dataset.parts if isinstance(dataset, Mixture) else (dataset,)


@dataclass(frozen=True, eq=False)
class Shares:
    """How much each row counts, and what it says: it is one of the labels `spoken`, among those `allowed`.

    weight: (n_rows,); spoken, allowed: (n_rows, n_labels), bool. is_main: (n_rows,), bool: of the corpus that a
    protocol divides, or of another with the same speakers.
    """

    weight: Tensor
    spoken: Tensor
    allowed: Tensor
    is_main: Tensor

    @classmethod
    def of(cls, dataset: Mixture, train: npt.NDArray[np.int64], config: TrainConfig) -> "Shares":
        """One row per clip. The clips `train` have labels that are `known`; the others do not count."""
        weight = np.zeros(len(dataset), np.float32)
        corpus, label = dataset.corpus_of[train], dataset.labels[train]
        counts = np.zeros(dataset.known.shape, np.int64)
        np.add.at(counts, (corpus, label), 1)
        n_labels = (counts > 0).sum(axis=1)
        of_corpus = np.array([config.mixture.get(part.corpus, 1.0) for part in dataset.parts])
        weight[train] = of_corpus[corpus] / (n_labels[corpus] * counts[corpus, label])
        is_exclusive = np.isin(dataset.label_names, config.exclusive)
        allowed = (dataset.known | ~dataset.is_labelled[:, None] | is_exclusive)[dataset.corpus_of]
        main = same_speakers(config.corpus)
        is_main = np.array([part.corpus in main for part in dataset.parts])[dataset.corpus_of]
        return cls(*map(torch.from_numpy, (weight, dataset.may_be, allowed, is_main)))

    def rows(self, clips: Tensor) -> "Shares":
        """Those of rows of the clips (n,). Several rows of a clip divide its share; all weights sum to 1."""
        weight = self.weight[clips] / torch.bincount(clips, minlength=len(self.weight))[clips]
        return Shares(weight / weight.sum(), self.spoken[clips], self.allowed[clips], self.is_main[clips])

    def __getitem__(self, rows: Tensor) -> "Shares":
        """Those of some rows."""
        return Shares(self.weight[rows], self.spoken[rows], self.allowed[rows], self.is_main[rows])

    @property
    def of_main(self) -> "Shares":
        """The same of the main corpus alone, if any of it counts."""
        weight = self.weight * self.is_main
        return replace(self, weight=weight / weight.sum()) if weight.any() else self

    @property
    def whether_main(self) -> "Shares":
        """Of two labels, another corpus and the main one, that count alike."""
        spoken = torch.stack([~self.is_main, self.is_main], dim=1)
        both = self.weight[:, None] * spoken
        weight = (both / both.sum(dim=0).clamp(min=torch.finfo().tiny)).sum(dim=1) / 2
        return Shares(weight, spoken, torch.ones_like(spoken), self.is_main)

    def loss(self, logits: Tensor) -> Tensor:
        """The mean negative log-likelihood of what the rows say, from their logits (n_rows, n_labels)."""
        spoken, allowed = (
            logits.masked_fill(~some, IMPOSSIBLE).logsumexp(dim=1) for some in (self.spoken, self.allowed)
        )
        return (allowed - spoken) @ self.weight
