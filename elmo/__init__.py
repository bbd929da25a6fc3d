"""ELMo from scratch: pretrain a biLM, freeze it, mix its layers, classify.

>>> import elmo
>>> elmo.load_bilm().embed(["The bank raised its rates."])
>>> elmo.load_classifier().predict(["The bank raised its rates."])
>>> elmo.generate(elmo.load_language_model(), "the bank")
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from elmo.errors import ElmoError

if TYPE_CHECKING:
    from elmo.inference.explanation import Explanation, explain
    from elmo.models.classifier import Prediction, TextClassifier, load_classifier
    from elmo.models.encoders import ElmoEncoder, Embedding
    from elmo.models.generation import generate
    from elmo.models.language_model import LanguageModel, load_language_model
    from elmo.models.loading import load_bilm

# Nothing is reported to anyone: read by the Hugging Face libraries and by Ray when they start.
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["DO_NOT_TRACK"] = "1"

__version__ = "0.2.0"

__all__ = [
    "ElmoEncoder",
    "ElmoError",
    "Embedding",
    "Explanation",
    "LanguageModel",
    "Prediction",
    "TextClassifier",
    "__version__",
    "explain",
    "generate",
    "load_bilm",
    "load_classifier",
    "load_language_model",
]

HOMES = {
    "ElmoEncoder": "elmo.models.encoders",
    "Embedding": "elmo.models.encoders",
    "Explanation": "elmo.inference.explanation",
    "LanguageModel": "elmo.models.language_model",
    "Prediction": "elmo.models.classifier",
    "TextClassifier": "elmo.models.classifier",
    "explain": "elmo.inference.explanation",
    "generate": "elmo.models.generation",
    "load_bilm": "elmo.models.loading",
    "load_classifier": "elmo.models.classifier",
    "load_language_model": "elmo.models.language_model",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `--help` waits for neither torch nor lightning."""
    if name not in HOMES:
        raise AttributeError(f"module 'elmo' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
