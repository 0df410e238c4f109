"""Answers for one voice. In: a trained network and the recordings it learned from. Out: a head for enrolled speakers.

A person's own way of speaking moves the features of every window as much as an emotion does. An enrolled head sees
the features relative to the mean and the deviation over some unlabelled speech of that person (speaker
normalisation; Busso et al. 2013, IEEE Transactions on Affective Computing 4(4)). It is fitted with profiles as
they come in use: from half a minute to a minute of that speaker, of all emotions or of neutral speech only.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy
import torch
from safetensors import SafetensorError
from torch import Tensor

from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.errors import ConfigError, ModelFormatError
from speech_emotion.evaluation.metrics import uar
from speech_emotion.files import write_atomically
from speech_emotion.labels import EMOTIONS
from speech_emotion.profile import shrunk
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.export.quantize import rounded
from speech_emotion.training.fit import calibration, checkpoint
from speech_emotion.training.fit.train import Sides, assemble, frame, kept_weights
from speech_emotion.training.networks.cnn import EmotionNetwork

FILE: Final = "enrolment.safetensors"
MIN_SECONDS: Final = 10.0  # of speech in a profile
PRIOR_WINDOWS: Final = 10.0
ENROLLED_SECONDS: Final = (20.0, 60.0)  # of speech in the profiles of the fit
N_DRAWS: Final = 4  # profiles a speaker
NEUTRAL: Final = tuple(EMOTIONS.index(label) for label in ("neutral", "calm"))
PENALTIES: Final = (100.0, 10.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


def voice_features(embedding: Tensor, log_mel: Tensor) -> Tensor:
    """What a profile is made of: (batch, n_embedding), (batch, n_mels, n_frames) → (batch, n_features).

    The embedding knows no levels, because each window is normalised before the trunk. The mean and the deviation of
    the log-mel over time bring them back: loudness means something as soon as the voice is known.
    """
    mean = log_mel.mean(dim=2)
    variance = (log_mel - mean.unsqueeze(2)).square().mean(dim=2)
    return torch.cat([embedding, mean, (variance + 1e-5).sqrt()], dim=1)


@dataclass(frozen=True, eq=False)
class EnrolledHead:
    """logits = weight · ((voice - profile mean) / profile deviation) + bias, voice = (features - mean) / deviation.

    mean, deviation: (n_features,), over the speakers that were learned from and within them.
    weight: (n_labels, n_features), bias: (n_labels,). temperature divides these logits; penalty is that of the fit.
    gain: UAR with a profile minus UAR without, on validation speakers; None without any.
    """

    mean: FloatArray
    deviation: FloatArray
    weight: FloatArray
    bias: FloatArray
    temperature: float
    penalty: float
    gain: float | None

    def write(self, folder: Path) -> None:
        """Keep it in a run folder, for export."""
        tensors = {name: getattr(self, name) for name in _TENSORS}
        facts = json.dumps({name: getattr(self, name) for name in ("temperature", "penalty", "gain")})
        metadata = {"facts": facts, "sha256": _sha256(tensors, facts)}
        write_atomically(folder / FILE, safetensors.numpy.save(tensors, metadata=metadata))


_TENSORS: Final = ("mean", "deviation", "weight", "bias")


def _sha256(tensors: Mapping[str, FloatArray], facts: str) -> str:
    contents = [facts.encode(), *(tensors[name].tobytes() for name in _TENSORS)]
    return hashlib.sha256(b"".join(contents)).hexdigest()


def read(folder: Path) -> EnrolledHead | None:
    """The enrolled head of a run folder, if it has one."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with safetensors.safe_open(path, framework="np") as file:
            tensors = {name: file.get_tensor(name) for name in _TENSORS}
            facts = file.metadata()["facts"]
            if file.metadata().get("sha256") != _sha256(tensors, facts):
                raise ValueError("it is damaged: it does not match its own checksum")
            return EnrolledHead(**tensors, **json.loads(facts))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ModelFormatError(
            f"{path}: not an enrolled head of ours ({error}). Delete it and train it again."
        ) from error


@dataclass(frozen=True, eq=False)
class Voices:
    """Some recordings as a network hears them. clip: of each window, index into seconds, labels and speakers."""

    features: FloatArray  # (n_windows, n_features)
    clip: IntArray  # (n_windows,)
    seconds: FloatArray  # (n_clips,)
    labels: IntArray  # (n_clips,)
    speakers: npt.NDArray[np.str_]  # (n_clips,)

    def of(self, clips: IntArray) -> "Voices":
        """Some of them, renumbered."""
        place = np.full(len(self.labels), -1)
        place[clips] = np.arange(len(clips))
        mine = place[self.clip] >= 0
        return Voices(
            self.features[mine],
            place[self.clip][mine],
            self.seconds[clips],
            self.labels[clips],
            self.speakers[clips],
        )


@torch.inference_mode()
def hear(network: EmotionNetwork, config: TrainConfig, dataset: PreparedDataset, clips: IntArray) -> Voices:
    """The features of the windows that a user would get, of `clips` (n,): indices into `dataset`."""
    clip: list[int] = []
    features: list[FloatArray] = []
    for number, index in enumerate(clips.tolist()):
        for window in frame(config, dataset.waveform(index)):
            heard = network.listen(torch.from_numpy(np.array(window))[None])
            features.append(voice_features(*heard)[0].numpy())
            clip.append(number)
    return Voices(
        np.stack(features),
        np.array(clip),
        np.array([dataset.seconds(index) for index in clips], np.float32),
        np.asarray(dataset.labels)[clips],
        np.asarray(dataset.speakers)[clips],
    )


def profiles(
    voices: Voices, standard: FloatArray, draws: Sequence[int], seed: int
) -> Iterator[tuple[IntArray, FloatArray]]:
    """Speakers as they may enrol: their windows (n,), and one profile (2, n_features) of them.

    standard: the features in the units of `voice`. Every speaker enrols once a member of `draws`, with the clips
    that come first in a shuffled order until there is enough; at odd draws with neutral speech alone, if any.
    """
    for speaker in np.unique(voices.speakers):
        own = np.flatnonzero(voices.speakers == speaker)  # clips
        neutral = own[np.isin(voices.labels[own], NEUTRAL)]
        windows = np.flatnonzero(np.isin(voices.clip, own))
        for draw in draws:
            random = np.random.default_rng([seed, draw, *speaker.encode()])
            order = random.permutation(neutral if draw % 2 and len(neutral) else own)
            n_heard = 1 + np.searchsorted(voices.seconds[order].cumsum(), random.uniform(*ENROLLED_SECONDS))
            heard = np.isin(voices.clip, order[:n_heard])
            yield windows, shrunk(standard[heard], PRIOR_WINDOWS)


def relative(
    voices: Voices, standard: FloatArray, draws: Sequence[int], seed: int
) -> tuple[FloatArray, IntArray]:
    """The windows of every draw, each relative to its speaker's profile (n, n_features); their clips (n,)."""
    rows = [
        ((standard[windows] - profile[0]) / profile[1], voices.clip[windows])
        for windows, profile in profiles(voices, standard, draws, seed)
    ]
    return np.concatenate([row for row, _ in rows]), np.concatenate([clip for _, clip in rows])


def fit_head(
    rows: FloatArray, labels: IntArray, start: tuple[FloatArray, FloatArray], penalty: float
) -> tuple[FloatArray, FloatArray]:
    """Multinomial logistic regression that is drawn towards `start`, the head for any voice.

    rows (n, n_features), labels (n,) → weight (n_labels, n_features), bias (n_labels,). Minimises the mean
    cross-entropy plus penalty · ‖weight - start‖², by L-BFGS, and is rounded as its file will hold it.
    """
    x, y = torch.from_numpy(rows), torch.from_numpy(labels)
    first = torch.from_numpy(start[0])
    weight, bias = first.clone().requires_grad_(), torch.from_numpy(start[1]).clone().requires_grad_()
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(x @ weight.T + bias, y)
        value = value + penalty * (weight - first).square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value.item()

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return rounded(weight.detach()).numpy(), bias.detach().numpy()


def learn(
    network: EmotionNetwork,
    config: TrainConfig,
    dataset: PreparedDataset,
    sides: Sides,
    like: Sequence[EnrolledHead] = (),
    heard: Voices | None = None,
) -> EnrolledHead:
    """The enrolled head of a trained network.

    Penalty and temperature are chosen on the validation speakers; without any, they are the geometric means of
    those of `like`, the heads of the same recipe under a protocol, and the gain is their mean gain. `heard`: all
    recordings of the dataset, where the network has heard them before.
    """

    def voices_of(clips: IntArray) -> Voices:
        return heard.of(clips) if heard else hear(network, config, dataset, clips)

    voices = voices_of(sides.train)
    mean, deviation = population(voices)
    start = _plain_head(network, mean, deviation)
    rows, clip = relative(voices, (voices.features - mean) / deviation, range(N_DRAWS), config.fit.seed)
    labels = voices.labels[clip]
    if not len(sides.validation):
        like = [head for head in like if head.gain is not None]
        if not like:
            raise ConfigError(
                "Nobody was set aside to choose an enrolled head on. Name a protocol's run folder."
            )
        penalty, temperature = (
            math.exp(np.mean([math.log(value) for value in values]))
            for values in ([head.penalty for head in like], [head.temperature for head in like])
        )
        gain = float(np.mean([head.gain for head in like]))
        weight, bias = fit_head(rows, labels, start, penalty)
        return EnrolledHead(mean, deviation, weight, bias, temperature, penalty, round(gain, 4))
    judge = _Judge(voices_of(sides.validation), mean, deviation, start, config.fit.seed)
    heads = [judge.judged(*fit_head(rows, labels, start, penalty), penalty) for penalty in PENALTIES]
    return min(heads, key=lambda pair: pair[0])[1]


def population(voices: Voices) -> tuple[FloatArray, FloatArray]:
    """Mean over the speakers and deviation within them, (n_features,) each: so many units make one of `voice`."""
    groups = [
        voices.features[voices.speakers[voices.clip] == speaker] for speaker in np.unique(voices.speakers)
    ]
    mean = np.mean([group.mean(axis=0) for group in groups], axis=0)
    variance = np.mean([group.var(axis=0) for group in groups], axis=0)
    return mean.astype(np.float32), np.sqrt(variance + 1e-6).astype(np.float32)


@torch.inference_mode()
def _plain_head(
    network: EmotionNetwork, mean: FloatArray, deviation: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """The network's own head, which is affine, in the units of `voice`; the levels, which it does not know, weigh 0."""
    n = network.n_embedding
    bias = network.logits(torch.zeros(1, n))[0]
    weight = (network.logits(torch.eye(n)) - bias).T.numpy()  # (n_labels, n_embedding)
    in_voice = np.zeros((len(weight), len(mean)), np.float32)
    in_voice[:, :n] = weight * deviation[:n]
    return in_voice, bias.numpy() + weight @ mean[:n]


class _Judge:
    """Validation speakers, enrolled as in use: how good is a head?"""

    def __init__(
        self,
        voices: Voices,
        mean: FloatArray,
        deviation: FloatArray,
        plain: tuple[FloatArray, FloatArray],
        seed: int,
    ) -> None:
        self.mean, self.deviation = mean, deviation
        standard = (voices.features - mean) / deviation
        drawn = [relative(voices, standard, [draw], seed) for draw in range(N_DRAWS)]
        n_clips = len(voices.labels)
        self.rows = np.concatenate([rows for rows, _ in drawn])
        self.recording = np.concatenate([clip + draw * n_clips for draw, (_, clip) in enumerate(drawn)])
        self.labels = np.tile(voices.labels, N_DRAWS)
        logits = standard @ plain[0].T + plain[1]
        self.plain_uar = self._uar(logits, voices.clip, voices.labels)

    def judged(self, weight: FloatArray, bias: FloatArray, penalty: float) -> tuple[float, EnrolledHead]:
        """The negative log-likelihood of the recordings under a head, and that head."""
        logits = (self.rows @ weight.T + bias).astype(np.float64)
        temperature = calibration.fit_temperature(logits, self.recording, self.labels)
        probabilities = calibration.pooled(logits, self.recording, temperature)
        chosen = probabilities[np.arange(len(self.labels)), self.labels]
        gain = round(self._uar(logits, self.recording, self.labels) - self.plain_uar, 4)
        head = EnrolledHead(self.mean, self.deviation, weight, bias, temperature, penalty, gain)
        return float(-np.log(np.maximum(chosen, 1e-12)).mean()), head

    @staticmethod
    def _uar(logits: npt.NDArray[np.floating], recording: IntArray, labels: IntArray) -> float:
        probabilities = calibration.pooled(logits.astype(np.float64), recording, 1.0)
        return uar(labels, probabilities.argmax(axis=1))


def learn_run(
    folder: Path,
    dataset: PreparedDataset,
    sides: Sides,
    like: Sequence[Path] = (),
    heard: Voices | None = None,
) -> Voices:
    """Give a finished run folder its enrolled head; the next export takes it up. `like`, `heard`: see `learn`.

    Returns all recordings as they were heard, for other folds of the same trunk.
    """
    tensors, state = checkpoint.load(folder)
    config = TrainConfig.from_dict(state["recipe"], where=str(folder))
    network = assemble(config)
    network.load_state_dict(kept_weights(tensors))
    heard = heard or hear(network.eval(), config, dataset, np.arange(len(dataset.clips)))
    others = [head for head in map(read, like) if head]
    learn(network.eval(), config, dataset, sides, others, heard).write(folder)
    return heard
