"""A trained network → one sealed .onnx. In: weights, recipe, temperature. Out: a file that takes a raw waveform.

The file is written only when ONNX Runtime, reading it as a user would, agrees with torch. With an enrolled head it
takes the profile of a voice as well: an input that may be left out. With the trunk of the package it also says whether
somebody speaks.
"""

import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxscript.optimizer
import torch
from torch import Tensor, nn

from speech_emotion.audio import SAMPLE_RATE, FloatArray
from speech_emotion.errors import ParityError
from speech_emotion.files import write_atomically
from speech_emotion.labels import EMOTIONS
from speech_emotion.model import (
    FORMAT_VERSION,
    METADATA_KEY,
    OUTPUTS,
    PROFILE,
    SEAL_KEY,
    SPEECH,
    UNSEALED,
    VOICE,
    EmotionModel,
    seal,
)
from speech_emotion.model_info import Enrolment
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.export.quantize import round_weights, shrink
from speech_emotion.training.export.speech_head import SpeechHead, speech_head
from speech_emotion.training.fit.enrolment import MIN_SECONDS, PRIOR_WINDOWS, EnrolledHead, voice_features
from speech_emotion.training.networks.cnn import EmotionNetwork

TOLERANCE = 1e-5  # in probability
PROBABILITIES = (OUTPUTS[0], SPEECH)
OPSET = 18
LARGEST_FOLDED = 4096  # values; so the basis of the Fourier transform stays computed: folded it takes 1 MB


@dataclass(frozen=True)
class Provenance:
    """Where a model comes from, as its metadata says it. Licence and citation are those of its corpora."""

    corpora: tuple[str, ...]
    licence: str
    citation: str
    commit: str | None
    protocol: Mapping[str, Any] | None = None
    split_hash: str | None = None
    metrics: Mapping[str, Any] | None = None


class _Shipped(nn.Module):
    """waveform (batch, n_samples) → probabilities, logits (batch, n_labels), log_mel (batch, n_mels, n_frames).

    With a speech head, as the last output, speech (batch,) as well.
    """

    speech_weight: Tensor

    def __init__(self, network: EmotionNetwork, temperature: float, speech: SpeechHead | None = None) -> None:
        super().__init__()
        self.network, self.temperature, self.speech = network, temperature, speech
        if speech:
            self.register_buffer("speech_weight", torch.from_numpy(speech.weight))

    @property
    def output_names(self) -> list[str]:
        return [*OUTPUTS, *([SPEECH] if self.speech else [])]

    def forward(self, waveform: Tensor) -> tuple[Tensor, ...]:
        embedding, log_mel = self.network.listen(waveform)
        logits = self.network.logits(embedding)
        return torch.softmax(logits / self.temperature, dim=1), logits, log_mel, *self._speech(embedding)

    def _speech(self, embedding: Tensor) -> tuple[Tensor, ...]:
        """How probably somebody speaks, where there is a head for it."""
        if self.speech is None:
            return ()
        levels = embedding[:, : len(self.speech_weight)]
        return (torch.sigmoid(levels @ self.speech_weight + self.speech.bias),)


class _Enrolled(_Shipped):
    """_Shipped that also takes profile (2, n_features) and gives voice (batch, n_features).

    A profile of zeros is none: then the probabilities are those of _Shipped.
    """

    mean: Tensor
    deviation: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        network: EmotionNetwork,
        temperature: float,
        head: EnrolledHead,
        speech: SpeechHead | None = None,
    ) -> None:
        super().__init__(network, temperature, speech)
        cooled = temperature / head.temperature  # one temperature divides the logits of either head
        tensors = {"mean": head.mean, "deviation": head.deviation}
        tensors |= {"weight": head.weight * cooled, "bias": head.bias * cooled}
        for name, values in tensors.items():
            self.register_buffer(name, torch.from_numpy(values))

    @property
    def output_names(self) -> list[str]:
        return [*OUTPUTS, VOICE, *super().output_names[len(OUTPUTS) :]]

    def forward(self, waveform: Tensor, profile: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        embedding, log_mel = self.network.listen(waveform)
        voice = (voice_features(embedding, log_mel) - self.mean) / self.deviation
        deviation = torch.where(profile[1] > 0, profile[1], 1.0)
        enrolled = nn.functional.linear((voice - profile[0]) / deviation, self.weight, self.bias)
        logits = torch.where(profile[1].amax(dim=0) > 0, enrolled, self.network.logits(embedding))
        probabilities = torch.softmax(logits / self.temperature, dim=1)
        return probabilities, logits, log_mel, voice, *self._speech(embedding)


def export(
    network: EmotionNetwork,
    config: TrainConfig,
    temperature: float,
    provenance: Provenance,
    path: Path,
    *,
    head: EnrolledHead | None = None,
    thresholds: Mapping[str, float] | None = None,
) -> EmotionModel:
    """Write the model to `path`, all or nothing, and return it as loaded from there.

    head: for voices that are enrolled. thresholds: see `prediction.decide`; that of the speech head is added.
    Raises ParityError where torch and ONNX Runtime differ by more than 1e-5 in a probability.
    """
    network = network.cpu().eval()
    round_weights(network)
    speech = speech_head(config)
    shipped = (
        _Enrolled(network, temperature, head, speech) if head else _Shipped(network, temperature, speech)
    ).eval()
    window = config.window
    data = _to_onnx(
        shipped,
        config,
        {
            "name": config.name,
            "format_version": FORMAT_VERSION,
            "labels": list(EMOTIONS),
            "sample_rate": SAMPLE_RATE,
            "window_seconds": window.seconds,
            "hop_seconds": window.hop_seconds,
            "min_seconds": window.min_seconds,
            "temperature": temperature,
            "n_parameters": sum(p.numel() for p in network.parameters()),
            "recipe": config.to_dict(),
            "corpora": list(provenance.corpora),
            "protocol": provenance.protocol,
            "split_hash": provenance.split_hash,
            "commit": provenance.commit,
            "metrics": provenance.metrics or {},
            "licence": provenance.licence,
            "citation": provenance.citation,
            "thresholds": {**(thresholds or {}), **({SPEECH: speech.threshold} if speech else {})},
            "enrolment": _enrolment(head) if head else None,
        },
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as beside:
        candidate = Path(beside) / path.name
        candidate.write_bytes(data)
        check_parity(shipped, EmotionModel.load(candidate), config)
    write_atomically(path, data)
    return EmotionModel.load(path)


def _enrolment(head: EnrolledHead) -> dict[str, Any]:
    enrolment = Enrolment(len(head.mean), MIN_SECONDS, PRIOR_WINDOWS, head.gain)
    return asdict(enrolment)


def _to_onnx(shipped: _Shipped, config: TrainConfig, metadata: Mapping[str, Any]) -> bytes:
    fewest = max(part.frontend.n_fft for part in config.parts)
    n_samples = torch.export.Dim("n_samples", min=fewest)
    waveform = torch.zeros(2, round(config.window.seconds * SAMPLE_RATE))
    shape: dict[int, Any] = {0: torch.export.Dim("batch"), 1: n_samples}
    profile = torch.zeros(2, len(shipped.mean)) if isinstance(shipped, _Enrolled) else None
    with _quiet_exporter():
        program = torch.onnx.export(
            shipped,
            (waveform,) if profile is None else (waveform, profile),
            dynamo=True,
            opset_version=OPSET,
            input_names=["waveform"] if profile is None else ["waveform", PROFILE],
            output_names=shipped.output_names,
            dynamic_shapes=(shape,) if profile is None else (shape, None),
            verbose=False,
            optimize=False,
        )
    if program is None:
        raise ParityError("torch exported nothing. Install the versions of constraints.txt.")
    onnxscript.optimizer.optimize(program.model, output_size_limit=LARGEST_FOLDED)
    graph = program.model_proto
    if profile is not None:  # an input with an initializer has a default and may be left out
        graph.graph.initializer.append(onnx.numpy_helper.from_array(profile.numpy(), PROFILE))
    for entry in (*graph.graph.node, *graph.graph.value_info):
        del entry.metadata_props[:]  # stack traces of the exporting machine
        entry.doc_string = ""
    shrink(graph.graph)
    onnx.helper.set_model_props(
        graph, {METADATA_KEY: json.dumps(metadata, sort_keys=True, ensure_ascii=False), SEAL_KEY: UNSEALED}
    )
    return seal(graph.SerializeToString(deterministic=True))


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Without torch's notes to its own developers (deprecations, torchvision is not installed)."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def check_parity(shipped: _Shipped, model: EmotionModel, config: TrainConfig) -> None:
    """Raise ParityError where a probability differs by more than the tolerance, over lengths and batch sizes."""
    random = np.random.default_rng(0)
    window = round(config.window.seconds * SAMPLE_RATE)
    shortest = round(config.window.min_seconds * SAMPLE_RATE)
    differences = []
    for n_samples in (shortest, (shortest + window) // 2 + 7, window, 2 * window):
        for n_rows in (1, 3):
            seconds = np.arange(n_samples) / SAMPLE_RATE
            pitch = random.uniform(80, 300, (n_rows, 1))
            voice = np.sign(np.sin(2 * np.pi * pitch * seconds)) * np.abs(np.sin(7 * seconds)) * 0.1
            noise = random.standard_normal((n_rows, n_samples)) * 0.01
            waveform = (voice + noise).astype(np.float32)
            for profile in _profiles(shipped, random):
                inputs = [waveform] if profile is None else [waveform, profile]
                with torch.inference_mode():
                    outputs = shipped(*map(torch.from_numpy, inputs))
                scores = model.score(*inputs)
                for name, expected in zip(shipped.output_names, outputs, strict=True):
                    if name in PROBABILITIES:
                        differences.append(np.abs(expected.numpy() - getattr(scores, name)).max())
    worst = float(np.max(differences))  # NaN where one is NaN
    if not worst <= TOLERANCE:
        raise ParityError(
            f"The exported graph differs from the network by {worst:.1e} in probability; at most {TOLERANCE} is "
            "allowed. Nothing was written. Install the versions of constraints.txt and export again."
        )


def _profiles(shipped: nn.Module, random: np.random.Generator) -> list[FloatArray | None]:
    """What a graph is tried with: no profile if it takes none, otherwise zeros, which is none, and one."""
    if not isinstance(shipped, _Enrolled):
        return [None]
    n_features = len(shipped.mean)
    voice = np.stack([random.normal(0, 1, n_features), random.uniform(0.7, 1.3, n_features)])
    return [np.zeros((2, n_features), np.float32), voice.astype(np.float32)]
