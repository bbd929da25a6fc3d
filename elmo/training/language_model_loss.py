"""The loss of the language model, as an auxiliary of fine-tuning."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from elmo.data.batches import Batch
from elmo.errors import ConfigError, check_range
from elmo.evaluation.metrics import TokenMean
from elmo.models.encoders import ElmoEncoder, Encoder
from elmo.models.language_model import load_language_model
from elmo.modules.dropout import Dropout


class LanguageModelLoss(nn.Module):
    """The language model's loss on the texts of a classifier that fine-tunes its biLM.

    Its mean over the targets of both directions is added to the loss of the classes with a weight,
    so that the biLM forgets less of its pretraining (Radford et al. 2018, section 3.2; Chronopoulou
    et al. 2019, section 3). It reads the layers that the mixer reads: the biLM runs once. The
    softmax is that of the pretraining and is trained on; it is no part of the classifier.

    Args:
        encoder: fine-tuned; of several biLMs side by side each has its softmax.
        weight: of the loss.

    Attributes:
        mean: of the loss in this epoch, in nats per target.

    Raises:
        ConfigError: the weight is not positive, the encoder is frozen, or no softmax belongs to it.
    """

    def __init__(self, encoder: Encoder, weight: float) -> None:
        super().__init__()
        check_range({"language_model_weight": weight}, above=0, otherwise="null")
        if not encoder.finetune:
            raise ConfigError(
                f"language_model_weight is {weight}, but the encoder stays frozen; set "
                "encoder.finetune=true with encoder=elmo or side_by_side, or "
                "language_model_weight=null"
            )
        self.weight = weight
        self.widths = [part.dim for part in encoder.parts()]
        self.dropouts, self.softmaxes = nn.ModuleList(), nn.ModuleList()
        for part in encoder.parts():
            if not isinstance(part, ElmoEncoder) or part.bilm_path is None:
                raise ConfigError(
                    f"language_model_weight is {weight}, but the encoder has no softmax, as "
                    "published models have none; expected a biLM of train_lm.py, or "
                    "language_model_weight=null"
                )
            model = load_language_model(part.bilm_path)
            self.dropouts.append(Dropout(model.dropout.p, model.dropout.shared))
            self.softmaxes.append(model.softmax)
        self.mean = TokenMean()
        self.mean.persistent(True)  # a resumed epoch continues with the sums of its start

    def forward(self, layers: Tensor, batch: Batch) -> Tensor:
        """Return the negative log-likelihoods (2 N,) in nats, as `LanguageModel` does.

        Args:
            layers: of the encoder (L, B, T, D), of which the top one is read.
            batch: the B documents.
        """
        before = functional.pad(batch.mask[:, 1:], (0, 1)).flatten()  # (B T,), a token follows
        left = before.nonzero().squeeze(1)  # (N,)
        tokens = batch.tokens.flatten()  # (B T,)
        targets = torch.cat([tokens[left + 1], tokens[left]])  # (2 N,)
        tops = layers[-1].split(self.widths, -1)  # (B, T, D) of each biLM
        found = []
        for top, dropout, softmax in zip(tops, self.dropouts, self.softmaxes, strict=True):
            forward, backward = dropout(top).flatten(0, 1).chunk(2, -1)  # (B T, D/2) each
            hidden = [forward.index_select(0, left), backward.index_select(0, left + 1)]
            found.append(softmax(torch.cat(hidden), targets))  # (2 N,)
        nll = torch.cat(found)
        self.mean.update(nll.detach())
        return nll
