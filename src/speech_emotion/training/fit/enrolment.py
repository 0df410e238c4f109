"""Heads for speaker profiles. In: a trained network and the clips it learned from. Out: a head for enrolled speakers.

An enrolled head sees the features relative to the mean and the deviation over some unlabelled speech of a person
(speaker normalisation; Busso et al. 2013, IEEE Transactions on Affective Computing 4(4)). Of one corpus, it is fitted
with profiles as people make them: from 20 to 60 s of one speaker, of all emotions or of neutral speech only. Of a
mixture, it is fitted to augmented copies of every clip with a label, relative to all of its speaker and once more to
their neutral speech.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from speech_emotion.errors import ConfigError, ModelFormatError
from speech_emotion.evaluation.metrics import uar
from speech_emotion.files import DamagedFileError
from speech_emotion.profile import shrunk
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.data.embeddings import AugmentedEmbeddings
from speech_emotion.training.data.mixture import Mixture, Shares
from speech_emotion.training.data.window_features import NEUTRAL, WindowFeatures
from speech_emotion.training.fit import calibration
from speech_emotion.training.fit.job import Job
from speech_emotion.training.fit.logistic import fit_logistic
from speech_emotion.training.networks.pair import Network
from speech_emotion.training.networks.quantize import rounded
from speech_emotion.training.sealed_tensors import read_sealed_tensors, write_sealed_tensors

FILE: Final = "enrolment.safetensors"
MIN_SECONDS: Final = 10.0  # of speech in a profile
PRIOR_WINDOWS: Final = 10.0
ENROLLED_SECONDS: Final = (20.0, 60.0)  # of speech in the profiles of the fit
N_DRAWS: Final = 4  # profiles per speaker
PENALTIES: Final = (100.0, 10.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
# Of a mixture, chosen on speakers of corpora that it does not hold (benchmarks/real_voices/profiles.py).
PENALTY_OF_A_MIXTURE: Final = 0.1
SHARE_OF_A_MIXTURE: Final = 0.6  # of the enrolled head; the plain head has the rest
WEIGHT_OF_OTHERS: Final = (
    0.25  # of each further corpus, where the first counts 1: an unheard voice is like none of them
)
N_COPIES: Final = 8  # at most, of a clip
MIN_NEUTRAL_CLIPS: Final = 4  # of a speaker, for a profile of neutral speech
MAX_DEVIATIONS: Final = 8.0  # of an embedding; what is farther out is cut

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Pair = tuple[FloatArray, FloatArray]


# The head


@dataclass(frozen=True, eq=False)
class EnrolledHead:
    """logits = weight · ((voice - profile mean) / profile deviation) + bias, voice = (features - mean) / deviation.

    mean, deviation: (n_features,), over the train speakers and within them.
    weight: (n_labels, n_features), bias: (n_labels,). share: what these logits count in the mean with those of the
    plain head. temperature divides that mean; penalty is that of the fit.
    gain: UAR with a profile minus UAR without, on validation speakers.
    """

    mean: FloatArray
    deviation: FloatArray
    weight: FloatArray
    bias: FloatArray
    share: float
    temperature: float
    penalty: float
    gain: float

    def write(self, folder: Path) -> None:
        """Keep it in a run folder, for export."""
        tensors = {name: torch.from_numpy(getattr(self, name)) for name in _TENSORS}
        facts = {name: getattr(self, name) for name in _FACTS}
        write_sealed_tensors(folder / FILE, tensors, facts)


_TENSORS: Final = ("mean", "deviation", "weight", "bias")
_FACTS: Final = ("share", "temperature", "penalty", "gain")


def read(folder: Path) -> EnrolledHead | None:
    """The enrolled head of a run folder, if it has one."""
    path = folder / FILE
    try:
        tensors, facts = read_sealed_tensors(path)
        arrays: dict[str, Any] = {name: tensors[name].numpy() for name in _TENSORS}
        return EnrolledHead(**arrays, **facts)
    except FileNotFoundError:
        return None
    except (OSError, DamagedFileError, KeyError, TypeError) as error:
        raise ModelFormatError(
            f"{path}: not an enrolled head ({error}). Delete it and train it again."
        ) from error


# Profiles


def population(data: WindowFeatures) -> Pair:
    """Mean over the speakers and deviation within them, (n_features,) each: the units of `voice`."""
    groups = [data.features[data.speakers[data.clip] == speaker] for speaker in np.unique(data.speakers)]
    mean = np.mean([group.mean(axis=0) for group in groups], axis=0)
    variance = np.mean([group.var(axis=0) for group in groups], axis=0)
    return mean.astype(np.float32), np.sqrt(variance + 1e-6).astype(np.float32)


def profiles(
    data: WindowFeatures, standard: FloatArray, draws: Sequence[int], seed: int
) -> Iterator[tuple[IntArray, FloatArray]]:
    """Simulated enrolments: the windows (n,) of a speaker, and one profile (2, n_features) of that speaker.

    standard: the features in the units of `voice`. Every speaker enrols once per member of `draws`, with clips in a
    shuffled order until there is enough speech; at odd draws with neutral speech only, if there is any.
    """
    for speaker in np.unique(data.speakers):
        own = np.flatnonzero(data.speakers == speaker)  # clips
        neutral = own[data.is_neutral[own]]
        windows = np.flatnonzero(np.isin(data.clip, own))
        for draw in draws:
            rng = np.random.default_rng([seed, draw, *speaker.encode()])
            order = rng.permutation(neutral if draw % 2 and len(neutral) else own)
            n_clips = 1 + np.searchsorted(data.seconds[order].cumsum(), rng.uniform(*ENROLLED_SECONDS))
            is_enrolled = np.isin(data.clip, order[:n_clips])
            voices = standard[is_enrolled]
            yield windows, shrunk(voices.mean(axis=0), voices.var(axis=0), len(voices), PRIOR_WINDOWS)


def relative(
    data: WindowFeatures, standard: FloatArray, draws: Sequence[int], seed: int
) -> tuple[FloatArray, IntArray]:
    """The windows of every draw, each relative to its speaker's profile (n, n_features); which they are (n,)."""
    windows, profile = zip(*profiles(data, standard, draws, seed), strict=True)
    rows = [
        (standard[own] - mean) / deviation for own, (mean, deviation) in zip(windows, profile, strict=True)
    ]
    return np.concatenate(rows), np.concatenate(windows)


def relative_copies(
    augmented: AugmentedEmbeddings, dataset: Mixture, train: IntArray, units: Pair
) -> tuple[FloatArray, IntArray]:
    """Copies of every clip of `train` with a label, relative to all of those of its speaker.

    Those of speakers with enough neutral speech come again, relative to that alone.

    Returns:
        (n, n_embedding) in units of the profile, and the clip of each, (n,).
    """
    found, of_row = augmented.rows(train[dataset.is_labelled[dataset.corpus_of[train]]], N_COPIES)
    copies, clips, n = found.numpy(), of_row.numpy(), found.shape[1]
    copies = np.clip((copies - units[0][:n]) / units[1][:n], -MAX_DEVIATIONS, MAX_DEVIATIONS)
    drawn = list(_copies_of_speakers(dataset, clips))
    rows = np.empty((sum(len(own) for own, _ in drawn), n), np.float32)
    start = 0
    for own, enrolled in drawn:
        mean, variance = copies[enrolled].mean(axis=0), copies[enrolled].var(axis=0)
        mean, deviation = shrunk(mean, variance, len(np.unique(clips[enrolled])), PRIOR_WINDOWS)
        rows[start : start + len(own)] = (copies[own] - mean) / deviation
        start += len(own)
    return rows, np.concatenate([clips[own] for own, _ in drawn])


def _copies_of_speakers(dataset: Mixture, clips: IntArray) -> Iterator[tuple[IntArray, IntArray]]:
    """Of every speaker, once or twice: the rows with their copies, and those rows that their profile is made of."""
    is_neutral = np.isin(np.array(dataset.label_names)[dataset.labels[clips]], NEUTRAL)
    speakers = dataset.speakers[clips]
    order = np.argsort(speakers, kind="stable")
    starts = np.unique(speakers[order], return_index=True)[1]
    for own in np.split(order, starts[1:]):
        yield own, own
        neutral = own[is_neutral[own]]
        if len(np.unique(clips[neutral])) >= MIN_NEUTRAL_CLIPS:
            yield own, neutral


# The fit


def learn(
    network: Network,
    job: Job,
    features: WindowFeatures,
    augmented: AugmentedEmbeddings | None = None,
    references: Sequence[EnrolledHead] = (),
) -> EnrolledHead:
    """The enrolled head of a trained network in evaluation mode.

    Penalty and temperature are chosen on the validation speakers. Without any, they are the geometric means of those
    of `references`, heads of the same recipe under a protocol, and the gain is their mean gain.

    Args:
        network: What the job trained.
        job: The training.
        features: Those of the windows of the whole dataset.
        augmented: Of a mixture, the embeddings that the network's own head learned from.
        references: See above.

    Raises:
        ConfigError: There are neither validation speakers nor references.
    """
    seed = job.config.fit.seed
    analysed = np.unique(features.clip)
    train, validation = (np.intersect1d(side, analysed) for side in (job.sides.train, job.sides.validation))
    data = features.of(train)
    units = population(data)
    penalties: tuple[float, ...]
    if augmented and isinstance(job.dataset, Mixture):
        fitted = _fit_of_copies(job, job.dataset, augmented, units)
        share, penalties = SHARE_OF_A_MIXTURE, (PENALTY_OF_A_MIXTURE,)
    else:
        fitted = _fit_of_draws(data, units, _plain_head(network, units), seed)
        share, penalties = 1.0, PENALTIES
    if len(validation):
        judge = _Judge(network, features.of(validation), units, share, seed)
        heads = [judge.judged(*fitted(penalty), penalty) for penalty in penalties]
        return min(heads, key=itemgetter(0))[1]
    if not references:
        raise ConfigError("An enrolled head needs validation speakers. Give the run folder of a protocol.")
    chosen = np.array([(head.penalty, head.temperature, head.gain) for head in references]).T
    penalty, temperature = (math.exp(np.log(values).mean()) for values in chosen[:2])
    gain = round(float(chosen[2].mean()), 4)
    return EnrolledHead(*units, *fitted(penalty), share, temperature, penalty, gain)


def _fit_of_draws(data: WindowFeatures, units: Pair, plain: Pair, seed: int) -> Callable[[float], Pair]:
    """Of one corpus: from a penalty to the head of its windows relative to simulated profiles."""
    rows, windows = relative(data, (data.features - units[0]) / units[1], range(N_DRAWS), seed)
    return partial(fit_head, rows, data.labels[data.clip[windows]], plain)


def _fit_of_copies(
    job: Job, dataset: Mixture, augmented: AugmentedEmbeddings, units: Pair
) -> Callable[[float], Pair]:
    """Of a mixture: from a penalty to the head of its `relative_copies`, in which levels have weight 0."""
    rows, clips = relative_copies(augmented, dataset, job.sides.train, units)
    shares = shares_of_copies(dataset, clips, job.config)
    n_labels, n_levels = len(dataset.label_names), len(units[0]) - rows.shape[1]
    nothing = (np.zeros((n_labels, rows.shape[1]), np.float32), np.zeros(n_labels, np.float32))

    def fitted(penalty: float) -> Pair:
        weight, bias = fit_head(rows, dataset.labels[clips], nothing, penalty, shares=shares)
        return np.pad(weight, ((0, 0), (0, n_levels))), bias

    return fitted


def shares_of_copies(dataset: Mixture, clips: IntArray, config: TrainConfig) -> Shares:
    """How much each of `relative_copies` counts; clips: (n,), that of each."""
    weights = dict.fromkeys(config.mixture, WEIGHT_OF_OTHERS)
    shares = Shares.of(dataset, np.unique(clips), replace(config, mixture=weights))
    return shares.rows(torch.from_numpy(clips))


def fit_head(
    rows: FloatArray, labels: IntArray, plain: Pair, penalty: float, *, shares: Shares | None = None
) -> Pair:
    """Weight, rounded as its file will hold it, and bias for rows (n, n_features), drawn towards the `plain` head."""
    start = (torch.from_numpy(plain[0]), torch.from_numpy(plain[1]))
    weight, bias, _ = fit_logistic(torch.from_numpy(rows), shares or torch.from_numpy(labels), start, penalty)
    return rounded(weight).numpy(), bias.numpy()


@torch.inference_mode()
def _plain_head(network: Network, units: Pair) -> Pair:
    """The network's own head, which is affine without a specialist, in `units`; the levels, unused, have weight 0."""
    mean, deviation = units
    n = network.n_embedding
    bias = network.logits(torch.zeros(1, n))[0]
    weight = (network.logits(torch.eye(n)) - bias).T.numpy()  # (n_labels, n_embedding)
    in_units = np.zeros((len(weight), len(mean)), np.float32)
    in_units[:, :n] = weight * deviation[:n]
    return in_units, bias.numpy() + weight @ mean[:n]


class _Judge:
    """Scores heads on validation speakers, enrolled as people enrol."""

    def __init__(self, network: Network, data: WindowFeatures, units: Pair, share: float, seed: int) -> None:
        self.units, self.share = units, share
        standard = (data.features - units[0]) / units[1]
        drawn = [relative(data, standard, [draw], seed) for draw in range(N_DRAWS)]
        n_clips = len(data.labels)
        with torch.inference_mode():
            logits = network.logits(torch.from_numpy(data.features[:, : network.n_embedding])).numpy()
        self.rows = np.concatenate([rows for rows, _ in drawn])
        self.plain = np.concatenate([logits[windows] for _, windows in drawn])
        self.recording = np.concatenate(
            [data.clip[windows] + draw * n_clips for draw, (_, windows) in enumerate(drawn)]
        )
        self.labels = np.tile(data.labels, N_DRAWS)
        self.plain_uar = self._uar(logits, data.clip, data.labels)

    def judged(self, weight: FloatArray, bias: FloatArray, penalty: float) -> tuple[float, EnrolledHead]:
        """The negative log-likelihood of the recordings under a head, and that head."""
        enrolled = (self.rows @ weight.T + bias).astype(np.float64)
        logits = self.share * enrolled + (1 - self.share) * self.plain
        temperature = calibration.fit_temperature(logits, self.recording, self.labels)
        probabilities = calibration.pooled(logits, self.recording, temperature)
        spoken = probabilities[np.arange(len(self.labels)), self.labels]
        gain = round(self._uar(logits, self.recording, self.labels) - self.plain_uar, 4)
        head = EnrolledHead(*self.units, weight, bias, self.share, temperature, penalty, gain)
        return float(-np.log(np.maximum(spoken, 1e-12)).mean()), head

    @staticmethod
    def _uar(logits: npt.NDArray[np.floating], recording: IntArray, labels: IntArray) -> float:
        probabilities = calibration.pooled(logits.astype(np.float64), recording, 1.0)
        return uar(labels, probabilities.argmax(axis=1))
