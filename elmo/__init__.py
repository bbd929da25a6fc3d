"""ELMo from scratch: pretrain a biLM, freeze it, mix its layers, classify.

>>> import elmo
>>> elmo.load_bilm("outputs/.../bilstm.pt").embed(["The bank raised its rates."])
>>> elmo.load_classifier("outputs/.../classifier.pt").predict(["The bank raised its rates."])
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from elmo.errors import ElmoError

if TYPE_CHECKING:
    from elmo.classifier import Prediction, load_classifier
    from elmo.encoders import Embedding, load_bilm

# Nothing is reported to anyone: read by the Hugging Face libraries and by Ray when they start.
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["DO_NOT_TRACK"] = "1"

__all__ = ["ElmoError", "Embedding", "Prediction", "load_bilm", "load_classifier"]

HOMES = {
    "Embedding": "elmo.encoders",
    "Prediction": "elmo.classifier",
    "load_bilm": "elmo.encoders",
    "load_classifier": "elmo.classifier",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `--help` of a script waits for neither torch nor lightning."""
    if name not in HOMES:
        raise AttributeError(f"module 'elmo' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(HOMES[name]), name)
