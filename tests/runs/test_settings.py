"""Values of another type are found before any work, by the key."""

from __future__ import annotations

from typing import Any

import pytest

from elmo.errors import ConfigError
from elmo.runs.settings import GIVEN, check_settings

BILM = "elmo.modules.bilm.BiLM"
TOY = "elmo.data.corpora.toy.ToyNews"
TRAINER = "lightning.Trainer"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": "abc"}, "seed is 'abc'; expected int"),
        ({"seed": 1.0}, "seed is 1.0; expected int"),
        ({"seed": True}, "seed is True; expected int"),
        ({"seed": -1}, "seed is -1; expected 0 or more"),
        ({"seed": 2**32}, "expected 0 or more and less than 4294967296"),
        ({"mode": "up"}, "mode is 'up'; expected 'min', 'max'"),
        ({"evaluate_test": 1}, "evaluate_test is 1; expected bool"),
        ({"bilm": {"_target_": BILM, "dropout": "abc"}}, "bilm.dropout is 'abc'; expected float"),
        ({"bilm": {"_target_": BILM, "dropout": None}}, "bilm.dropout is None; expected float"),
        ({"bilm": {"_target_": BILM, "residual": "no"}}, "bilm.residual is 'no'; expected bool"),
        ({"optimizer": {"_target_": "torch.optim.Adamm"}}, "optimizer._target_ is 'torch.optim.Ad"),
        (
            {"optimizer": {"_target_": "adamw"}},
            "optimizer._target_ is 'adamw', which does not exist",
        ),
        ({"optimizer": {"_target_": None}}, "optimizer._target_ is None, which does not exist"),
        # An argument of the base class.
        ({"data": {"_target_": TOY, "min_count": 0.5}}, "data.min_count is 0.5; expected int"),
        ({"data": {"_target_": TOY, "seed": -3}}, "data.seed is -3; expected 0 or more"),
        ({"trainer": {"_target_": TRAINER, "precision": 8}}, "trainer.precision is 8; expected 64"),
        (
            {"callbacks": {"a": {"_target_": "elmo.training.callbacks.Samples", "prompts": "the"}}},
            "callbacks.a.prompts is 'the'; expected",
        ),
    ],
)
def test_a_value_of_another_type_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_settings(settings)
    assert message in str(caught.value)


@pytest.mark.parametrize(("group", "name"), [(g, name) for g in GIVEN for name in GIVEN[g]])
def test_what_the_job_fills_in_is_not_taken(group: str, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{group}\.{name} follows from"):
        check_settings({group: {name: 1}})


def test_values_that_fit_pass() -> None:
    check_settings(
        {
            "seed": 2**32 - 1,
            "threads": None,
            "warmup": 0,
            "mixer": None,
            "unheard_of": object(),
            "bilm": {"_target_": BILM, "dropout": 0, "hidden_dim": 8},
            "data": {"_target_": TOY, "max_vocabulary": None},
            "optimizer": {"_target_": "torch.optim.AdamW", "lr": 1e-3, "betas": [0.9, 0.99]},
        }
    )
