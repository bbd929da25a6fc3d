from __future__ import annotations

from typing import Any

import pytest
import torch

from elmo.utils.precision import native_precision


class Machine:
    """A pretended machine: its processor's instructions, and its GPU."""

    def __init__(self, patch: pytest.MonkeyPatch, *instructions: str) -> None:
        self.patch = patch
        found = dict.fromkeys(instructions, True) | {"amx_fp16": False, "cpu_name": "pretended"}
        patch.setattr(torch.cpu, "get_capabilities", lambda: found)
        patch.setattr(torch.cuda, "is_available", lambda: False)
        patch.setattr(torch.backends.mps, "is_available", lambda: False)

    def with_cuda(self, bf16: bool, emulated: bool = True) -> None:
        def supported(including_emulation: bool = True) -> bool:
            return bf16 or (emulated and including_emulation)

        self.patch.setattr(torch.cuda, "is_available", lambda: True)
        self.patch.setattr(torch.cuda, "is_bf16_supported", supported)

    def with_mps(self) -> None:
        self.patch.setattr(torch.backends.mps, "is_available", lambda: True)


@pytest.mark.parametrize(
    ("instructions", "expected"),
    [
        (("avx2",), "32-true"),
        (("avx2", "avx512_f", "avx512_bw", "avx512_vl"), "32-true"),  # oneDNN converts
        (("avx512_f", "avx512_bf16"), "bf16-mixed"),
        (("amx_tile", "amx_bf16"), "bf16-mixed"),
        (("amx_tile", "amx_int8"), "32-true"),
    ],
)
@pytest.mark.parametrize("accelerator", ["auto", "cpu"])
def test_of_a_processor(
    instructions: tuple[str, ...], expected: str, accelerator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Machine(monkeypatch, *instructions)
    assert native_precision(accelerator) == expected


@pytest.mark.parametrize(("bf16", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
@pytest.mark.parametrize("accelerator", ["auto", "gpu", "cuda"])
def test_of_a_gpu_that_may_emulate(
    bf16: bool, expected: str, accelerator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Machine(monkeypatch, "avx512_bf16").with_cuda(bf16)
    assert native_precision(accelerator) == expected


def test_a_named_processor_counts_beside_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch, "avx2").with_cuda(bf16=True)
    assert native_precision("cpu") == "32-true"


@pytest.mark.parametrize("accelerator", ["auto", "gpu", "mps"])
def test_of_a_mac(accelerator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch, "avx512_bf16").with_mps()
    assert native_precision(accelerator) == "32-true"


def test_this_processor_is_known() -> None:
    found: Any = torch.cpu.get_capabilities()
    assert {"avx512_bf16", "amx_bf16"} <= found.keys() or found["architecture"] != "x86_64"
