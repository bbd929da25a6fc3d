"""The text classifier: encoder, mixer and head, and its training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from elmo.data.batches import TOKEN_BUDGET, Batch, text_batches
from elmo.data.text import WordTokenizer
from elmo.errors import ArtifactError
from elmo.models.artifacts import (
    build,
    describe,
    fill,
    load_artifact,
    save_artifact,
)
from elmo.models.encoders import Encoder, encoder_from_config
from elmo.modules.heads import Head
from elmo.modules.mixers import Mixer
from elmo.runs.latest import latest_or_released


class Prediction(NamedTuple):
    """What a classifier says of one text."""

    label: str
    probabilities: dict[str, float]  # of every class, summing to one


class TextClassifier(nn.Module):
    """Classes of documents from the layers of their tokens.

    Frozen layers above the embedding are rounded to half precision, as a store keeps them, so that
    training and predictions do not depend on whether they come from there.

    Args:
        encoder: gives the layers, untouched by training unless it is fine-tuned.
        mixer: makes one embedding of them.
        head: scores the classes.
        class_names: in the order of the labels.
    """

    def __init__(
        self, encoder: Encoder, mixer: Mixer, head: Head, class_names: Sequence[str]
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.mixer = mixer
        self.head = head
        self.class_names = list(class_names)

    def forward(self, batch: Batch) -> Tensor:
        """B documents -> logits (B, C)."""
        return self.head(self.mixer(self.layers(batch), batch.mask), batch.mask)

    def layers(self, batch: Batch) -> Tensor:
        """B documents of T tokens -> the layers (L, B, T, D) that the mixer gets."""
        layers = self.encoder(batch)
        if batch.layers is None:  # no layers, where the encoder is fine-tuned
            computed = layers[self.encoder.num_layers - self.encoder.stored_layers :]
            computed.copy_(computed.half())
        return layers

    @torch.no_grad()
    def scores(self, batch: Batch) -> Tensor:
        """B documents, on any device -> logits (B, C); leaves the model in eval mode."""
        self.eval()
        device = next(self.parameters()).device
        return self(batch.to(device))

    def predict(self, texts: Sequence[str], token_budget: int = TOKEN_BUDGET) -> list[Prediction]:
        """The class of each text, cleaned and tokenised first; leaves the model in eval mode.

        Args:
            texts: documents; an empty one is classified too, by `<s> </s>` alone.
            token_budget: padded tokens classified at a time, at most.
        """
        rows: dict[int, Prediction] = {}
        for _, batch in text_batches(texts, self.encoder.tokenizer, token_budget):
            logits = self.scores(batch)
            for row, best, scores in zip(
                batch.row.tolist(),
                logits.argmax(1).tolist(),
                logits.softmax(1).tolist(),
                strict=True,
            ):
                probabilities = dict(zip(self.class_names, scores, strict=True))
                rows[row] = Prediction(self.class_names[best], probabilities)
        return [rows[row] for row in range(len(texts))]

    def save(self, path: Path, facts: dict[str, Any]) -> None:
        """Write `classifier.pt`: all that `load_classifier` needs, the encoder included."""
        config = {
            "encoder": self.encoder.config(),
            "mixer": describe(self.mixer),
            "head": describe(self.head),
            "class_names": self.class_names,
        }
        save_artifact(
            path, "classifier", config, self.encoder.tokenizer.json, facts, self.state_dict()
        )


def check_parts(
    mixer: Callable[..., Mixer], head: Callable[..., Head], class_names: Sequence[str]
) -> None:
    """Check the settings of mixer and head before an encoder is there, without taking memory.

    Raises:
        ConfigError: a setting that cannot work.
    """
    with torch.device("meta"):
        head(dim=8, num_classes=len(class_names))
        mixer(num_layers=3, dim=8)


def build_classifier(
    encoder: Encoder,
    mixer: Callable[..., Mixer],
    head: Callable[..., Head],
    class_names: Sequence[str],
) -> TextClassifier:
    """Build mixer and head for an encoder, with new weights from the global random numbers.

    Args:
        mixer: called with `num_layers` and `dim`.
        head: called with `dim` and `num_classes`.
        class_names: in the order of the labels.
    """
    with torch.device("meta"):
        width = mixer(num_layers=encoder.num_layers, dim=encoder.dim).output_dim
    # The head first: it starts the same, whatever the mixer draws.
    built = head(dim=width, num_classes=len(class_names))
    return TextClassifier(
        encoder, mixer(num_layers=encoder.num_layers, dim=encoder.dim), built, class_names
    )


def load_classifier(
    path: str | Path | None = None, device: str | torch.device = "cpu"
) -> TextClassifier:
    """Load the classifier of a `classifier.pt`, in eval mode, ready to `predict`.

    Args:
        path: the file, or its run folder; None takes the latest in `outputs`, or else the released
            one.
        device: to which the weights are moved.

    Raises:
        ArtifactError: see `elmo.models.artifacts.load_artifact`.
    """
    path = path or latest_or_released("classifier")
    content = load_artifact(path, "classifier")
    config = content["config"]
    try:
        tokenizer = WordTokenizer(content["tokenizer"])
        with torch.device("meta"):
            encoder = encoder_from_config(config.get("encoder"), tokenizer)
            mixer = build(config.get("mixer"), Mixer)
            head = build(config.get("head"), Head)
        names = config.get("class_names")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ArtifactError("its class_names are no list of names")
        shapes = {
            "encoder": (encoder.num_layers, encoder.dim, mixer.output_dim, len(names)),
            "mixer": (mixer.num_layers, mixer.dim, mixer.output_dim, len(names)),
            "head": (encoder.num_layers, encoder.dim, head.dim, head.num_classes),
        }
        if len(set(shapes.values())) > 1:
            raise ArtifactError(f"layers, widths and classes of its parts do not agree: {shapes}")
        model = TextClassifier(encoder, mixer, head, names)
        fill(model, content["state"])
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error
    return model.eval().to(device)
