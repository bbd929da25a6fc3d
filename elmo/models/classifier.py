"""The text classifier: encoder, mixer and head, built, saved, loaded and used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from elmo.data.batches import TOKEN_BUDGET, Batch, text_batches
from elmo.data.text import WordTokenizer
from elmo.errors import ArtifactError
from elmo.models.artifacts import build, describe, load_artifact, load_weights, save_artifact
from elmo.models.encoder_config import encoder_from_config
from elmo.models.encoders import Encoder
from elmo.modules.bilm import MAX_LAYERS
from elmo.modules.heads import Head
from elmo.modules.mixers import Mixer
from elmo.runs.latest import model_path


class Prediction(NamedTuple):
    """The prediction of a classifier for one text."""

    label: str
    probabilities: dict[str, float]  # by class name, summing to one


class TextClassifier(nn.Module):
    """The classifier of documents: an encoder, a mixer and a head.

    Frozen layers above the embedding are rounded to half precision, as the layer store keeps them,
    so that training and predictions do not depend on whether the layers come from the store.

    Args:
        encoder: computes the layers; training leaves it unchanged unless it is fine-tuned.
        mixer: combines the layers of a token into one embedding.
        head: scores the classes.
        class_names: names of the C classes, in the order of the labels.
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
        """Return the logits (B, C) of B documents."""
        return self.scores(self.layers(batch), batch.mask)

    def scores(self, layers: Tensor, mask: Tensor) -> Tensor:
        """Return the logits (B, C) of B documents, given what `layers` returned and the mask."""
        return self.head(self.mixer(layers, mask), mask)

    def layers(self, batch: Batch) -> Tensor:
        """Return the layers (L, B, T, D) of B documents, as the mixer gets them."""
        layers = self.encoder(batch)  # (L, B, T, D)
        if batch.layers is None:
            # The upper S layers, which a store would keep; S = 0 where the encoder is fine-tuned.
            upper = layers[self.encoder.num_layers - self.encoder.stored_layers :]  # (S, B, T, D)
            upper.copy_(upper.half())
        return layers

    @torch.no_grad()
    def logits(self, batch: Batch) -> Tensor:
        """Return the logits (B, C) of B documents from any device; leave the model in eval mode."""
        self.eval()
        device = next(self.parameters()).device
        return self(batch.to(device))

    def predict(self, texts: Sequence[str], token_budget: int = TOKEN_BUDGET) -> list[Prediction]:
        """Predict the class of each text; leave the model in eval mode.

        Args:
            texts: documents, cleaned and tokenized here; an empty one is read as `<s> </s>`.
            token_budget: largest number of padded tokens in a batch.
        """
        predictions: dict[int, Prediction] = {}
        for _, batch in text_batches(texts, self.encoder.tokenizer, token_budget):
            logits = self.logits(batch)  # (B, C)
            for row, best, probabilities in zip(
                batch.row.tolist(),
                logits.argmax(1).tolist(),
                logits.softmax(1).tolist(),
                strict=True,
            ):
                by_name = dict(zip(self.class_names, probabilities, strict=True))
                predictions[row] = Prediction(self.class_names[best], by_name)
        return [predictions[row] for row in range(len(texts))]

    def save(self, path: Path, facts: dict[str, Any]) -> None:
        """Write `classifier.pt`: all that `load_classifier` needs, including the encoder.

        Args:
            path: the file.
            facts: see `elmo.models.artifacts.save_artifact`.
        """
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
    """Check the settings of mixer and head before an encoder is built; this takes no memory.

    Raises:
        ConfigError: a setting cannot work with any encoder.
    """
    with torch.device("meta"):
        head(dim=8, num_classes=len(class_names))
        mixer(num_layers=MAX_LAYERS + 1, dim=8)


def build_classifier(
    encoder: Encoder,
    mixer: Callable[..., Mixer],
    head: Callable[..., Head],
    class_names: Sequence[str],
) -> TextClassifier:
    """Build mixer and head for an encoder, with new weights from the global random numbers.

    Args:
        encoder: sets L and D.
        mixer: called with `num_layers` and `dim`.
        head: called with `dim` and `num_classes`.
        class_names: names of the C classes, in the order of the labels.

    Raises:
        ConfigError: a setting cannot work, or does not fit the encoder.
    """
    sizes = {"num_layers": encoder.num_layers, "dim": encoder.dim}
    with torch.device("meta"):
        output_dim = mixer(**sizes).output_dim
    # The head is built first, so that it starts the same for every mixer.
    new_head = head(dim=output_dim, num_classes=len(class_names))
    return TextClassifier(encoder, mixer(**sizes), new_head, class_names)


def load_classifier(
    path: str | Path | None = None, device: str | torch.device = "cpu"
) -> TextClassifier:
    """Load the classifier of a `classifier.pt`, in eval mode, ready to `predict`.

    Args:
        path: the file, or its run folder; "released" or "latest", the model trained last in
            `outputs`; None takes the latest on real text, or else the released one.
        device: where the weights go.

    Raises:
        MissingModelError: there is no such model.
        ArtifactError: see `elmo.models.artifacts.load_artifact`.
    """
    path = model_path(path, "classifier")
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
            raise ArtifactError("its class_names are not a list of strings")
        shapes = {
            "encoder": (encoder.num_layers, encoder.dim, mixer.output_dim, len(names)),
            "mixer": (mixer.num_layers, mixer.dim, mixer.output_dim, len(names)),
            "head": (encoder.num_layers, encoder.dim, head.dim, head.num_classes),
        }
        if len(set(shapes.values())) > 1:
            raise ArtifactError(f"layers, widths and classes of its parts do not agree: {shapes}")
        model = TextClassifier(encoder, mixer, head, names)
        load_weights(model, content["state"])
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error
    return model.eval().to(device)
