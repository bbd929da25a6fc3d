"""The precision in which a device trains fastest without losing figures, as Lightning names it."""

from __future__ import annotations

AUTO, SINGLE, BFLOAT16 = "auto", "32-true", "bf16-mixed"
# Processors multiply bf16 by these. With AVX-512 alone, oneDNN computes in single precision and
# converts before and after each product, which is slower than single precision throughout.
INSTRUCTIONS = ("avx512_bf16", "amx_bf16")


def native_precision(accelerator: str) -> str:
    """Return `bf16-mixed` where a device computes bf16 natively, otherwise `32-true`.

    Args:
        accelerator: as Lightning takes it; `auto` and `gpu` are a GPU where there is one.
    """
    import torch

    on_gpu = accelerator != "cpu"
    if accelerator == "tpu" or (on_gpu and torch.backends.mps.is_available()):  # never tried
        return SINGLE
    if on_gpu and torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        found = torch.cpu.get_capabilities()
        native = any(found.get(name, False) for name in INSTRUCTIONS)
    return BFLOAT16 if native else SINGLE
