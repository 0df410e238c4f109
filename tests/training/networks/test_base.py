"""Arithmetic of half the precision, only where the processor has it."""

import pytest
import torch

from speech_emotion.training.networks.base import half_precision

CASCADE_LAKE = {"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": False}


@pytest.mark.parametrize(
    ("capabilities", "onednn_says", "expected"),
    [
        (CASCADE_LAKE | {"amx_bf16": True}, True, torch.bfloat16),
        (CASCADE_LAKE | {"avx512_bf16": True}, True, torch.bfloat16),
        (CASCADE_LAKE, True, torch.float32),  # emulated
        (CASCADE_LAKE, False, torch.float32),
        ({"architecture": "aarch64"}, True, torch.bfloat16),
        ({"architecture": "aarch64"}, False, torch.float32),
    ],
)
def test_bf16_is_used_where_the_processor_multiplies_it(
    monkeypatch: pytest.MonkeyPatch,
    capabilities: dict[str, str | bool],
    onednn_says: bool,
    expected: torch.dtype,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: onednn_says)
    with half_precision("cpu"):
        assert torch.nn.functional.linear(torch.ones(2, 2), torch.ones(2, 2)).dtype == expected
