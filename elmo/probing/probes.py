"""The probes: small classifiers that read one layer of a word, or the learned mix of all."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from elmo.modules.mixers import ScalarMix

HIDDEN = 64


class Probe(nn.Module):
    """A classifier of single words; with several layers it mixes them first.

    The mix is gamma * sum_l softmax(w)_l h_l, learned together with the probe (Peters et al. 2018,
    eq. 1). The probe is linear, that is a multinomial logistic regression, or has one hidden layer
    with ReLU (Hewitt and Liang 2019, section 3.1), of 64 units: they find small hidden layers more
    selective than large ones.

    Args:
        num_layers: L, the layers that it reads.
        dim: D, width of a layer.
        num_classes: C.
        hidden_dim: width of the hidden layer; None for a linear probe.
    """

    def __init__(self, num_layers: int, dim: int, num_classes: int, hidden_dim: int | None) -> None:
        super().__init__()
        # The layers are normalised already.
        self.mixer = ScalarMix(num_layers, dim, layer_norm=False) if num_layers > 1 else None
        if hidden_dim is None:
            self.classifier: nn.Module = nn.Linear(dim, num_classes)
        else:
            self.classifier = nn.Sequential(
                nn.Linear(dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, num_classes)
            )

    def forward(self, layers: Tensor) -> Tensor:
        """Return the logits (B, C) of words with the layers (L, B, D)."""
        if self.mixer is None:
            mixed = layers[0]  # (B, D)
        else:
            lambdas = self.mixer.lambdas()
            mixed = self.mixer.gamma * torch.tensordot(lambdas, layers, dims=1)  # (B, D)
        return self.classifier(mixed)


KINDS: dict[str, int | None] = {"linear": None, "mlp": HIDDEN}  # width of the hidden layer
