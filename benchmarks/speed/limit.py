"""What the core could do at best. In: a model file. Out: work, time and floor of each stage of its graph.

The graph is the one that ONNX Runtime executes, after its own optimisation: its profile has the time and the shapes of
every kernel. The floor of a stage is the longer of two times: its multiplications at the rate of the core's matrix
products, and its weights as stored, its inputs and its outputs at the rate of memcpy. Weights stored as int8 have the
rate of int8 products, whatever the kernel does with them. All rates are measured in the same run on the same core.
"""

import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

PRODUCTS: Final = {"Conv", "Gemm", "MatMul", "FusedMatMul", "FusedConv", "FusedGemm", "MatMulInteger"}
PRODUCTS_OF_WEIGHTS: Final = PRODUCTS - {"Gemm", "FusedGemm"}  # heads are Gemm
LARGE: Final = 2048  # values: weights from here on are stored as int8
N_RUNS: Final = 60
SIZE: Final = 768  # of the square matrices whose product gives the rates


class Work(NamedTuple):
    """What a stage computes and moves: floating-point operations in products, in int8 products, in all; bytes."""

    float_flop: float
    int8_flop: float
    other_flop: float
    n_bytes: float


def rates() -> dict[str, float]:
    """Of this core: float32 and int8 products in operations per second, memcpy in bytes per second."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((SIZE, SIZE)).astype(np.float32)
    b = rng.standard_normal((SIZE, SIZE)).astype(np.float32)
    out = np.empty_like(a)
    n_flop = 2 * SIZE**3
    float32 = product(b)
    q = rng.integers(0, 255, (SIZE, SIZE), np.uint8)
    int8 = product(rng.integers(-127, 127, (SIZE, SIZE), np.int8))
    source = np.ones(2**24, np.float32)
    copy = np.empty_like(source)
    sgemm = min(_fastest(lambda: np.matmul(a, b, out=out)), _fastest(lambda: float32.run(None, {"a": a})))
    return {
        "sgemm": n_flop / sgemm,
        "int8_gemm": n_flop / _fastest(lambda: int8.run(None, {"a": q})),
        "memcpy": source.nbytes / _fastest(lambda: np.copyto(copy, source)),
    }


def product(b: np.ndarray) -> onnxruntime.InferenceSession:
    """a @ b in ONNX Runtime, for float32 or for uint8 by int8."""
    is_float = b.dtype == np.float32
    kind = TensorProto.FLOAT if is_float else TensorProto.UINT8
    node = helper.make_node("MatMul" if is_float else "MatMulInteger", ["a", "b"], ["c"])
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("a", kind, b.shape)],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT if is_float else TensorProto.INT32, b.shape)],
        [numpy_helper.from_array(b, "b")],
    )
    opsets = [helper.make_opsetid("", 18)]
    return _session(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())


def _fastest(action: Callable[[], object], n: int = 25) -> float:
    action()
    seconds = []
    for _ in range(n):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _session(model: bytes | str, **settings: Any) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    for name, value in settings.items():
        setattr(options, name, value)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def of_model(model: Path, waveform: np.ndarray, rate: Mapping[str, float]) -> dict[str, Any]:
    """Each stage of the graph: its median and 99th percentile in ms, its work, its floor, and time / floor.

    Args:
        model: A model file.
        waveform: One window (1, n_samples) at 16 kHz.
        rate: What `rates` gave.
    """
    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder) / "optimised.onnx"
        prefix = str(Path(folder) / "profile")
        settings = {"optimized_model_filepath": str(optimised), "enable_profiling": True}
        session = _session(str(model), profile_file_prefix=prefix, **settings)
        for _ in range(N_RUNS + 5):
            session.run(None, {"waveform": waveform})
        events = json.loads(Path(session.end_profiling()).read_bytes())
        graph = onnx.load(optimised).graph
    stage_of, sizes = stages(graph), weight_sizes(graph)
    kernels = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            kernels[event["name"].removesuffix("_kernel_time")].append(event)
    seconds: dict[str, Any] = defaultdict(lambda: np.zeros(N_RUNS))
    work: dict[str, list[Work]] = defaultdict(list)
    for stage, n_bytes in crossing(graph, stage_of, kernels).items():
        work[stage].append(Work(0, 0, 0, n_bytes))
    for name, runs in kernels.items():
        stage = stage_of.get(name, "heads")
        seconds[stage] = seconds[stage] + np.array([event["dur"] for event in runs[-N_RUNS:]]) / 1e6
        work[stage].append(_work(runs[-1]["args"], sizes.get(name, 0), stage))
    return {
        stage: _row(seconds[stage], Work(*np.sum(work[stage], axis=0)), rate)
        for stage in ("front end", "encoder", "cnn", "heads")
        if stage in work
    }


def _work(kernel: Mapping[str, Any], n_weights: int, stage: str) -> Work:
    inputs, (output, *_) = kernel["input_type_shape"], kernel["output_type_shape"]
    n_out = float(np.prod(next(iter(output.values()))))
    if kernel["op_name"] not in PRODUCTS:
        return Work(0, 0, n_out, 0)
    if "Conv" in kernel["op_name"]:
        depth = float(np.prod(next(iter(inputs[1].values()))[1:]))
    else:
        depth = float(next(iter(inputs[0].values()))[-1])
    n_flop = 2 * n_out * depth
    is_int8 = n_weights >= LARGE and stage != "front end"  # whose basis is computed, not stored
    return Work(0 if is_int8 else n_flop, n_flop if is_int8 else 0, 0, n_weights * (1 if is_int8 else 4))


def crossing(
    graph: onnx.GraphProto, stage_of: Mapping[str, str], kernels: Mapping[str, Any]
) -> dict[str, float]:
    """For each stage the bytes of the values that it takes from other stages and gives to them, each once."""
    maker = {output: node.name for node in graph.node for output in node.output}
    size: dict[str, float] = {}
    for node in graph.node:
        if node.name in kernels:
            shapes = kernels[node.name][-1]["args"]["output_type_shape"]
            for output, shape in zip(node.output, shapes, strict=False):
                size[output] = 4.0 * float(np.prod(next(iter(shape.values()))))
    values: dict[str, set[str]] = defaultdict(set)
    for node in graph.node:
        for name in node.input:
            if name in maker and stage_of[maker[name]] != stage_of[node.name]:
                values[stage_of[node.name]].add(name)
                values[stage_of[maker[name]]].add(name)
    return {stage: sum(size.get(name, 0.0) for name in names) for stage, names in values.items()}


def _row(seconds: np.ndarray, work: Work, rate: Mapping[str, float]) -> dict[str, Any]:
    products = work.float_flop / rate["sgemm"] + work.int8_flop / rate["int8_gemm"]
    floor = max(products, work.n_bytes / rate["memcpy"])
    as_float = max((work.float_flop + work.int8_flop) / rate["sgemm"], work.n_bytes / rate["memcpy"])
    median, p99 = np.percentile(seconds, (50, 99))
    return {
        "median_ms": round(1e3 * float(median), 3),
        "p99_ms": round(1e3 * float(p99), 3),
        "mflop_float": round(float(work.float_flop) / 1e6, 1),
        "mflop_int8": round(float(work.int8_flop) / 1e6, 1),
        "moved_kb": round(float(work.n_bytes) / 1e3, 1),
        "floor_ms": round(1e3 * float(floor), 4),
        "float_floor_ms": round(1e3 * float(as_float), 4),
        "times_floor": round(float(median / floor), 2),
        "times_float_floor": round(float(median / as_float), 2),
    }


def weight_sizes(graph: onnx.GraphProto) -> dict[str, int]:
    """For each node with weights of two axes or more, the number of their values."""
    dims = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    return {
        node.name: int(np.prod(dims[name]))
        for node in graph.node
        for name in node.input
        if len(dims.get(name, ())) >= 2
    }


def stages(graph: onnx.GraphProto) -> dict[str, str]:
    """The stage of each node: "front end", "encoder", "cnn" or "heads".

    A front end ends in the first logarithm on a path. A body, encoder or CNN, ends in its last product with weights.
    All that follows are heads, the moments over time included.
    """
    before = _ancestors(graph)
    logs = {node.name for node in graph.node if node.op_type == "Log"}
    ends = [name for name in logs if not (before[name] & logs)]
    front = {name for end in ends for name in (end, *before[end])}
    sizes = weight_sizes(graph)
    products = [
        node.name
        for node in graph.node
        if node.op_type in PRODUCTS_OF_WEIGHTS and sizes.get(node.name, 0) >= LARGE and node.name not in front
    ]
    body = {name for end in products for name in (end, *before[end])} - front
    norms = {node.name for node in graph.node if node.op_type == "LayerNormalization"}
    of_encoder = {name for norm in norms for name in before[norm] if name in ends}
    found = {}
    for name in before:
        is_cnn = bool(before[name] & set(ends)) and not (before[name] & of_encoder)
        of_body = "cnn" if is_cnn or not norms else "encoder"
        found[name] = "front end" if name in front else of_body if name in body else "heads"
    return found


def _ancestors(graph: onnx.GraphProto) -> dict[str, frozenset[str]]:
    """For each node the names of all nodes that it depends on. The nodes of a graph are sorted."""
    producer = {output: node.name for node in graph.node for output in node.output}
    found: dict[str, frozenset[str]] = {}
    for node in graph.node:
        direct = list(_producers(node, producer))
        found[node.name] = frozenset(direct).union(*(found[name] for name in direct))
    return found


def _producers(node: onnx.NodeProto, producer: Mapping[str, str]) -> Iterator[str]:
    return (producer[name] for name in node.input if name in producer)
