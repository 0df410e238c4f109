"""Products of integers round: a difference in the last digits, as between processors, may become another integer."""

import onnx

from speech_emotion.shipped import MODELS

CLOSE = 0.02  # in probability; the largest difference seen is 0.004


def rounding_of(name: str, otherwise: float) -> float:
    """How far two answers of the shipped model `name` to the same sound may be apart; `otherwise` without integers."""
    path = next((model.path for model in MODELS if model.name == name), None)
    integers = path and any(node.op_type == "MatMulInteger" for node in onnx.load(path).graph.node)
    return CLOSE if integers else otherwise
