"""A trained network → one sealed .onnx. In: network, recipe, calibration. Out: a file that takes a raw waveform.

The file is only written if ONNX Runtime, reading it as a user would, agrees with torch. Then its stored matrices are
multiplied as integers, which is part of every score, as scores are of the file. With an enrolled head, the model also
takes a speaker profile: an optional input. With the encoder in the package, it also detects speech.
"""

import itertools
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
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
from speech_emotion.training.data.window_features import voice_features
from speech_emotion.training.export.integer import integer_products
from speech_emotion.training.export.quantize import shrink
from speech_emotion.training.export.speech_head import SpeechHead, speech_head
from speech_emotion.training.fit.calibration import Calibration
from speech_emotion.training.fit.enrolment import MIN_SECONDS, PRIOR_WINDOWS, EnrolledHead
from speech_emotion.training.networks.pair import Network
from speech_emotion.training.networks.quantize import round_weights

TOLERANCE = 1e-5  # in probability
INTEGER_TOLERANCE = (
    0.2  # of the same with products of integers, in the mean; standard differs by 0.03 at most
)
PROBABILITIES = (OUTPUTS[0], SPEECH)
OPSET = 18
LARGEST_FOLDED = 4096  # values; so the basis of the Fourier transform stays computed: folded it takes 1 MB


@dataclass(frozen=True)
class Provenance:
    """Where a model comes from, for its metadata."""

    corpora: tuple[str, ...]
    licence: str
    citation: str
    commit: str | None
    protocol: Mapping[str, Any] | None = None
    split_hash: str | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)


class _Shipped(nn.Module):
    """waveform (batch, n_samples) → probabilities, logits (batch, n_labels), log_mel (batch, n_mels, n_frames).

    With an enrolled head, it also takes profile (2, n_features) and returns voice (batch, n_features); a profile of
    zeros is none. With a speech head, the last output is speech (batch,).
    """

    mean: Tensor
    deviation: Tensor
    weight: Tensor
    bias: Tensor
    speech_weight: Tensor

    def __init__(
        self,
        network: Network,
        calibration: Calibration,
        *,
        head: EnrolledHead | None = None,
        speech: SpeechHead | None = None,
    ) -> None:
        super().__init__()
        self.network, self.calibration, self.speech = network, calibration, speech
        self.n_features = len(head.mean) if head else 0
        tensors = {"speech_weight": speech.weight} if speech else {}
        if head:
            cooled = calibration.temperature / head.temperature  # one temperature divides all logits
            self.plain_share = (1 - head.share) * cooled
            tensors |= {"mean": head.mean, "deviation": head.deviation}
            tensors |= {"weight": head.weight * cooled * head.share, "bias": head.bias * cooled * head.share}
        for name, values in tensors.items():
            self.register_buffer(name, torch.from_numpy(values))

    @property
    def output_names(self) -> list[str]:
        return [*OUTPUTS, *([VOICE] if self.n_features else []), *([SPEECH] if self.speech else [])]

    def forward(self, waveform: Tensor, profile: Tensor | None = None) -> tuple[Tensor, ...]:
        embedding, log_mel = self.network.analyse(waveform)
        logits = self.network.logits(embedding)
        extras = []
        if profile is not None:
            voice = (voice_features(embedding, log_mel) - self.mean) / self.deviation
            deviation = torch.where(profile[1] > 0, profile[1], 1.0)
            enrolled = nn.functional.linear((voice - profile[0]) / deviation, self.weight, self.bias)
            enrolled = enrolled + self.plain_share * logits if self.plain_share else enrolled
            logits = torch.where(profile[1].amax(dim=0) > 0, enrolled, logits)
            extras.append(voice)
        if self.speech:
            levels = embedding[:, : len(self.speech_weight)]
            extras.append(torch.sigmoid(levels @ self.speech_weight + self.speech.bias))
        return torch.softmax(logits / self._temperature(embedding), dim=1), logits, log_mel, *extras

    def _temperature(self, embedding: Tensor) -> Tensor | float:
        of_window = self.calibration.of_window
        return of_window(embedding) if of_window else self.calibration.temperature


def export(
    network: Network,
    config: TrainConfig,
    calibration: Calibration,
    provenance: Provenance,
    path: Path,
    *,
    head: EnrolledHead | None = None,
) -> EmotionModel:
    """Write the model to `path`, all or nothing, and return it as loaded from there; ParityError: see above."""
    network = network.cpu().eval()
    round_weights(network)
    speech = speech_head(config)
    shipped = _Shipped(network, calibration, head=head, speech=speech).eval()
    enrolment = asdict(Enrolment(len(head.mean), MIN_SECONDS, PRIOR_WINDOWS, head.gain)) if head else None
    window = config.window
    metadata = {
        "name": config.name,
        "format_version": FORMAT_VERSION,
        "labels": list(network.labels),
        "sample_rate": SAMPLE_RATE,
        "window_seconds": window.seconds,
        "hop_seconds": window.hop_seconds,
        "min_seconds": window.min_seconds,
        "temperature": calibration.temperature,
        "n_parameters": sum(p.numel() for p in network.parameters()),
        "recipe": config.to_dict(),
        **asdict(provenance),
        "thresholds": {**calibration.thresholds, **({SPEECH: speech.threshold} if speech else {})},
        "enrolment": enrolment,
    }
    model = _to_onnx(shipped, config, metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as beside:
        candidate = Path(beside) / path.name
        candidate.write_bytes(data := _sealed(model))
        check_parity(shipped, EmotionModel.load(candidate), config)
        if integer_products(model.graph):
            candidate.write_bytes(data := _sealed(model))
            check_parity(shipped, EmotionModel.load(candidate), config, INTEGER_TOLERANCE, np.mean)
    write_atomically(path, data)
    return EmotionModel.load(path)


def _sealed(model: onnx.ModelProto) -> bytes:
    return seal(model.SerializeToString(deterministic=True))


def _to_onnx(shipped: _Shipped, config: TrainConfig, metadata: Mapping[str, Any]) -> onnx.ModelProto:
    """The graph, with an empty seal."""
    n_samples = torch.export.Dim("n_samples", min=max(part.frontend.n_fft for part in config.parts))
    waveform = torch.zeros(2, round(config.window.seconds * SAMPLE_RATE))
    shape: dict[int, Any] = {0: torch.export.Dim("batch"), 1: n_samples}
    profile = torch.zeros(2, shipped.n_features)
    n_inputs = 2 if shipped.n_features else 1
    with _quiet_exporter():
        program = torch.onnx.export(
            shipped,
            (waveform, profile)[:n_inputs],
            dynamo=True,
            opset_version=OPSET,
            input_names=["waveform", PROFILE][:n_inputs],
            output_names=shipped.output_names,
            dynamic_shapes=(shape, None)[:n_inputs],
            verbose=False,
            optimize=False,
        )
    if program is None:
        raise ParityError("torch exported nothing. Install the versions of constraints.txt.")
    onnxscript.optimizer.optimize(program.model, output_size_limit=LARGEST_FOLDED)
    graph: onnx.ModelProto = program.model_proto
    if shipped.n_features:  # an input with an initializer has a default and may be left out
        graph.graph.initializer.append(onnx.numpy_helper.from_array(profile.numpy(), PROFILE))
    for entry in (*graph.graph.node, *graph.graph.value_info):
        del entry.metadata_props[:]  # stack traces of the exporting machine
        entry.doc_string = ""
    shrink(graph.graph)
    onnx.helper.set_model_props(
        graph, {METADATA_KEY: json.dumps(metadata, sort_keys=True, ensure_ascii=False), SEAL_KEY: UNSEALED}
    )
    return graph


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Without torch's warnings about itself (deprecations, torchvision is not installed)."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def check_parity(
    shipped: _Shipped,
    model: EmotionModel,
    config: TrainConfig,
    tolerance: float = TOLERANCE,
    summary: Callable[[list[Any]], Any] = np.max,
) -> None:
    """Raise ParityError where probabilities differ by more than the tolerance, over lengths and batch sizes.

    summary: of the largest differences of all tries.
    """
    rng = np.random.default_rng(0)
    window, shortest = (round(s * SAMPLE_RATE) for s in (config.window.seconds, config.window.min_seconds))
    differences = []
    lengths = (shortest, (shortest + window) // 2 + 7, window, 2 * window)
    for n_samples, n_rows in itertools.product(lengths, (1, 3)):
        waveform = _test_sounds(n_rows, n_samples, rng)
        for profile in _profiles(shipped.n_features, rng):
            inputs = [waveform, *profile]
            with torch.inference_mode():
                outputs = shipped(*map(torch.from_numpy, inputs))
            scores = model.score(*inputs)
            for name, expected in zip(shipped.output_names, outputs, strict=True):
                if name in PROBABILITIES:
                    differences.append(np.abs(expected.numpy() - getattr(scores, name)).max())
    worst = float(summary(differences))  # NaN where one is NaN
    if not worst <= tolerance:
        raise ParityError(
            f"The exported graph differs from the network by {worst:.1e} in probability; at most {tolerance} is "
            "allowed. Nothing was written. Install the versions of constraints.txt and export again."
        )


def _test_sounds(n_rows: int, n_samples: int, rng: np.random.Generator) -> FloatArray:
    """Something like voices in a little noise, (n_rows, n_samples)."""
    seconds = np.arange(n_samples) / SAMPLE_RATE
    pitch = rng.uniform(80, 300, (n_rows, 1))
    voice = np.sign(np.sin(2 * np.pi * pitch * seconds)) * np.abs(np.sin(7 * seconds)) * 0.1
    return np.asarray(voice + rng.standard_normal((n_rows, n_samples)) * 0.01, np.float32)


def _profiles(n_features: int, rng: np.random.Generator) -> list[tuple[FloatArray, ...]]:
    """Further inputs to try: none if the graph takes no profile, otherwise zeros, which is no profile, and one."""
    if not n_features:
        return [()]
    profile = np.stack([rng.normal(0, 1, n_features), rng.uniform(0.7, 1.3, n_features)])
    return [(np.zeros((2, n_features), np.float32),), (profile.astype(np.float32),)]
