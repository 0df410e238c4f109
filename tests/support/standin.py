"""A tiny model with the file contract of the real one, so that tests of the road need no training.

16 log-mel-like bands from one convolution, their mean over time, one linear layer: a probability per label, which sum
to 1 and depend on the sound. With `ENROLMENT` in its metadata it takes a speaker profile as well: its features
are those means. With a threshold "speech" it detects speech: to it, everything loud is speech.
"""

import json
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from speech_emotion.labels import EMOTIONS
from speech_emotion.model import SEAL_KEY, UNSEALED, seal
from speech_emotion.model_info import METADATA_KEY

N_BANDS, N_TAPS, HOP = 16, 400, 160
LOUD = -8.4  # mean log power of the bands at which half the windows speak

METADATA: dict[str, Any] = {
    "name": "stand-in",
    "format_version": 1,
    "labels": list(EMOTIONS),
    "sample_rate": 16_000,
    "window_seconds": 3.0,
    "hop_seconds": 1.0,
    "min_seconds": 0.5,
    "temperature": 1.25,
    "n_parameters": N_BANDS * len(EMOTIONS),
    "recipe": {"seed": 7},
    "corpora": ["synthetic"],
    "protocol": None,
    "split_hash": None,
    "commit": None,
    "metrics": {},
    "licence": "CC0-1.0",
    "citation": "none",
    "thresholds": {},
    "enrolment": None,
}
ENROLMENT: dict[str, Any] = {"n_features": N_BANDS, "min_seconds": 10.0, "prior_windows": 10.0, "gain": 0.05}


def model_bytes(**metadata: Any) -> bytes:
    """A sealed stand-in, its metadata changed as named."""
    judges = "speech" in metadata.get("thresholds", {})
    n_labels = len(metadata.get("labels", EMOTIONS))
    enrols = bool(metadata.get("enrolment"))
    return sealed(graph(enrols=enrols, judges=judges, n_labels=n_labels), METADATA | metadata)


def sealed(graph: onnx.GraphProto, metadata: Any, opset: int = 17) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    text = metadata if isinstance(metadata, str) else json.dumps(metadata)
    helper.set_model_props(model, {METADATA_KEY: text, SEAL_KEY: UNSEALED})
    return seal(model.SerializeToString())


def graph(
    waveform: str = "waveform",
    probabilities: str = "probabilities",
    *,
    enrols: bool = False,
    judges: bool = False,
    n_labels: int = len(EMOTIONS),
) -> onnx.GraphProto:
    constants = {
        "basis": _bands(),  # (bands, 1, taps)
        "floor": np.float32(1e-6),
        "weights": np.random.default_rng(7).normal(0, 0.1, (N_BANDS, n_labels)).astype(np.float32),
        "temperature": np.float32(METADATA["temperature"]),
        "channel_axis": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Unsqueeze", [waveform, "channel_axis"], ["mono"]),
        helper.make_node("Conv", ["mono", "basis"], ["bands"], strides=[HOP]),
        helper.make_node("Mul", ["bands", "bands"], ["power"]),
        helper.make_node("Add", ["power", "floor"], ["floored"]),
        helper.make_node("Log", ["floored"], ["log_mel"]),
        helper.make_node("ReduceMean", ["log_mel"], ["means"], axes=[2], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["plain" if enrols else "logits"]),
        helper.make_node("Div", ["logits", "temperature"], ["cooled"]),
        helper.make_node("Softmax", ["cooled"], [probabilities], axis=1),
    ]
    values = {
        waveform: ["batch", "n_samples"],
        probabilities: ["batch", n_labels],
        "logits": ["batch", n_labels],
        "log_mel": ["batch", N_BANDS, "n_frames"],
    }
    if enrols:
        nodes[-2:-2] = _enrolled()
        constants |= {"typical": np.float32(-12), "spread": np.float32(2), "one": np.float32(1)}
        constants |= {
            "nothing": np.float32(0),
            "row": np.array([1], np.int64),
            "start": np.array([0], np.int64),
        }
        constants |= {"end": np.array([2], np.int64), "profile": np.zeros((2, N_BANDS), np.float32)}
        values["voice"] = ["batch", N_BANDS]
    if judges:
        nodes += [
            helper.make_node("ReduceMean", ["means"], ["level"], axes=[1], keepdims=0),
            helper.make_node("Sub", ["level", "loud"], ["above"]),
            helper.make_node("Sigmoid", ["above"], ["speech"]),
        ]
        constants["loud"] = np.float32(LOUD)
        values["speech"] = ["batch"]
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in values.items()]
    if enrols:
        infos.insert(1, helper.make_tensor_value_info("profile", TensorProto.FLOAT, [2, N_BANDS]))
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    n_inputs = 2 if enrols else 1
    return helper.make_graph(nodes, "stand-in", infos[:n_inputs], infos[n_inputs:], tensors)


def _enrolled() -> list[onnx.NodeProto]:
    """logits = plain, or with a profile those of (voice - mean) / deviation under the same weights."""
    return [
        helper.make_node("Sub", ["means", "typical"], ["distance"]),
        helper.make_node("Div", ["distance", "spread"], ["voice"]),
        helper.make_node("Slice", ["profile", "start", "row"], ["mean"]),  # (1, bands)
        helper.make_node("Slice", ["profile", "row", "end"], ["deviation"]),
        helper.make_node("Greater", ["deviation", "nothing"], ["is_known"]),
        helper.make_node("Where", ["is_known", "deviation", "one"], ["divisor"]),
        helper.make_node("Sub", ["voice", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "divisor"], ["relative"]),
        helper.make_node("MatMul", ["relative", "weights"], ["enrolled"]),
        helper.make_node("ReduceMax", ["deviation"], ["largest"], keepdims=0),
        helper.make_node("Greater", ["largest", "nothing"], ["is_enrolled"]),
        helper.make_node("Where", ["is_enrolled", "enrolled", "plain"], ["logits"]),
    ]


def _bands() -> np.ndarray:
    """Windowed cosines from 100 Hz to 6 kHz."""
    frequencies = np.geomspace(100, 6_000, N_BANDS)[:, None]
    basis = np.cos(2 * np.pi * frequencies * np.arange(N_TAPS) / 16_000) * np.hanning(N_TAPS)
    return basis[:, None].astype(np.float32)
