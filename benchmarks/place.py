"""Where a benchmark computes: a processor or a GPU, and the precision of its products."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from benchmarks import harness

OUT_OF_MEMORY = ("out of memory", "ALLOC_FAILED")  # what PyTorch, cuBLAS and cuDNN say


class Place(NamedTuple):
    """A device and a precision.

    Attributes:
        device: as PyTorch names it: cpu, cuda, cuda:1.
        precision: `fp32`, products in single precision; `tf32`, the same tensors, products by the
            TF32 tensor cores; `bf16`, autocast as Lightning's bf16-mixed does it.
    """

    device: str = "cpu"
    precision: str = "fp32"

    @property
    def on_cpu(self) -> bool:
        """Whether the device is the processor."""
        return self.device == "cpu"

    def missing(self) -> str | None:
        """Return why the device does not have this precision; None where it has."""
        import torch

        if self.precision == "tf32":
            if not self.device.startswith("cuda"):
                return f"{self.device} has no TF32"
            if torch.cuda.get_device_capability(self.device) < (8, 0):
                return "TF32 needs a GPU of compute capability 8.0 or higher"
        if self.precision == "bf16" and self.device.startswith("cuda"):
            with torch.cuda.device(self.device):
                if not torch.cuda.is_bf16_supported(including_emulation=False):
                    return "this GPU has no bf16"
        return None

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Compute products of single precision as the precision says, in cuBLAS and in cuDNN.

        By default PyTorch uses TF32 in cuDNN and not in cuBLAS; bf16 leaves it at that, as
        train_lm.py does. Lightning asks `torch.get_float32_matmul_precision`, which raises an error
        after `torch.backends.cuda.matmul.fp32_precision` was set; so that is not used.
        """
        import torch

        rnn: Any = torch.backends.cudnn.rnn
        before = torch.get_float32_matmul_precision(), rnn.fp32_precision
        if self.precision != "bf16":
            tf32 = self.precision == "tf32"
            torch.set_float32_matmul_precision("high" if tf32 else "highest")
            rnn.fp32_precision = "tf32" if tf32 else "ieee"
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before[0])
            rnn.fp32_precision = before[1]

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """Return the context of a forward pass, the one that Lightning's trainer uses."""
        if self.precision != "bf16":
            return contextlib.nullcontext()
        from lightning.pytorch.plugins.precision import MixedPrecision

        return MixedPrecision("bf16-mixed", self.device.partition(":")[0]).forward_context()

    def overrides(self) -> tuple[str, ...]:
        """Return the settings with which the scripts train here."""
        kind, _, number = self.device.partition(":")
        return (
            f"trainer.accelerator={kind}",
            f"trainer.devices=[{number}]" if number else "trainer.devices=1",
            f"trainer.precision={'bf16-mixed' if self.precision == 'bf16' else '32-true'}",
        )

    def synchronize(self) -> None:
        """Wait until the device has done its work, so that a clock can be read."""
        import torch

        if not self.on_cpu:
            torch.accelerator.synchronize(self.device)

    def limit(self) -> float:
        """Return the FLOP/s of the fastest large matrix product in this process.

        Measured anew at each call on a processor, whose speed drifts; once on a GPU.
        """
        return _limit(self) if self.on_cpu else _limit_once(self)

    def start_afresh(self) -> None:
        """Free what earlier work has left on the device, and count the peak of memory anew."""
        import torch

        if not self.on_cpu:
            gc.collect()
            torch.accelerator.empty_cache()
            torch.accelerator.reset_peak_memory_stats(self.device)

    def peak_mebibytes(self) -> float | None:
        """Return the peak memory of tensors on the device; None on a processor."""
        import torch

        if self.on_cpu:
            return None
        return torch.accelerator.max_memory_allocated(self.device) / 2**20


def _limit(place: Place) -> float:
    import torch

    dtype = torch.bfloat16 if place.precision == "bf16" else torch.float32
    with place.active():
        return harness.limit(place.device, dtype)


_limit_once = cache(_limit)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that the memory of the device does not suffice."""
    return isinstance(error, RuntimeError) and any(text in str(error) for text in OUT_OF_MEMORY)
