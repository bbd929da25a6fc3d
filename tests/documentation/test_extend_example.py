"""The mixer of docs/howto/extend.md works as it stands there."""

from __future__ import annotations

import re
from typing import Any, cast

import torch
from omegaconf import OmegaConf
from torch import nn

from conftest import ROOT
from elmo.modules import mixers

PAGE = (ROOT / "docs/howto/extend.md").read_text()


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert isinstance(found, str)
    return found


def test_the_mixer_of_the_page() -> None:
    settings = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.create(block("yaml"))))
    module, _, name = settings.pop("_target_").rpartition(".")
    assert module == mixers.__name__
    assert settings.pop("_partial_") is True
    space: dict[str, Any] = dict(vars(mixers))
    exec(block("python"), space)  # as appended to the module
    mixer = space[name](3, 8, **settings)
    assert isinstance(mixer, mixers.Mixer)
    for key, value in settings.items():  # how a saved model knows its arguments
        assert getattr(mixer, key) == value

    layers, mask = torch.randn(3, 2, 5, 8), torch.ones(2, 5, dtype=torch.bool)
    mixed = mixer(layers, mask)
    expected = nn.functional.layer_norm(layers, (8,)).mean(0)  # equal weights at the start
    torch.testing.assert_close(mixed, expected)
    weights = mixer.get_parameter("weights")
    with torch.no_grad():
        weights[0] = -100.0
    torch.testing.assert_close(mixer.lambdas(), torch.tensor([0.0, 0.5, 0.5]))
    mixer(layers, mask).sum().backward()
    assert weights.grad is not None
    assert mixer.gates(layers).shape == (3, 2, 5)
