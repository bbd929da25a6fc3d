"""Encoders from what an artifact says of them."""

from __future__ import annotations

from typing import Any

from elmo.data.text import WordTokenizer
from elmo.errors import ArtifactError
from elmo.models import static
from elmo.models.artifacts import find_class
from elmo.models.encoders import Encoder


def encoder_from_config(config: dict[str, Any], tokenizer: WordTokenizer) -> Encoder:
    """Build the encoder that a config describes, with new weights.

    Raises:
        ArtifactError: the config names no encoder, or the encoder cannot be built from it.
    """
    described = find_class(config, Encoder, static)
    try:
        return described.from_config(config, tokenizer)
    except (TypeError, ValueError, KeyError, RuntimeError, OverflowError, AttributeError) as error:
        raise ArtifactError(f"its {described.__name__} cannot be built: {error!r}") from error
