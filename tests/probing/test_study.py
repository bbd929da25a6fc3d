from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from elmo.data.batches import Batch
from elmo.data.text import WordTokenizer
from elmo.models.static import StaticEncoder
from elmo.probing.study import Plan, interval, spread, study
from elmo.probing.words import SPLITS, Document, Splits, Word

TYPES = 24
CPU = torch.device("cpu")


class Planted(StaticEncoder):
    """Layer 0 is the word type, layer 1 the word before, layer 2 noise."""

    num_layers = 3

    def forward(self, batch: Batch) -> Tensor:
        static = super().forward(batch)[0]  # (B, T, D)
        generator = torch.Generator().manual_seed(int(batch.tokens.sum()))
        noise = torch.randn(static.shape, generator=generator)
        return torch.stack([static, static.roll(1, 1), noise])


def encoder(kind: type[StaticEncoder] = Planted) -> StaticEncoder:
    tokenizer = WordTokenizer.train([" ".join(f"w{n}" for n in range(TYPES))], 1, None)
    torch.manual_seed(0)
    made = kind(tokenizer, 32)
    torch.nn.init.normal_(made.embedding.table.weight)
    return made


def splits(label: str) -> Splits:
    """Random words; what labels a word is the parity of itself, of the one before, or chance."""
    generator = np.random.default_rng(0)
    found: Splits = {}
    for split, count in zip(SPLITS, (300, 100, 100), strict=True):
        found[split] = []
        for numbers in generator.integers(0, TYPES, (count, 8)).tolist():
            by = {"own": numbers[1:], "before": numbers[:-1], "chance": generator.integers(0, 2, 7)}
            words = [
                Word(f"w{own}", unit, 0, None, {"tag": "odd" if source % 2 else "even"})
                for unit, (own, source) in enumerate(
                    zip(numbers[1:], by[label], strict=True), start=1
                )
            ]
            found[split].append(Document([f"w{number}" for number in numbers], words))
    return found


def record(label: str, seeds: int = 2, kinds: tuple[str, ...] = ("linear",)) -> dict[str, Any]:
    plan = Plan(None, kinds, seeds, CPU)
    return study(["tag"], splits(label), {"planted": encoder()}, plan, lambda _: None)["tag"]


def by_layer(found: dict[str, Any], key: str = "accuracy") -> dict[Any, float]:
    return {result["layer"]: result[key]["mean"] for result in found["results"]}


@pytest.mark.parametrize(("label", "layer"), [("own", 0), ("before", 1)])
def test_a_planted_task_is_found_in_its_layer_and_the_lambdas_go_there(
    label: str, layer: int
) -> None:
    found = record(label)
    means = by_layer(found)
    assert means[layer] > 0.97
    assert means["mix"] > 0.9
    assert all(abs(means[other] - 0.5) < 0.08 for other in {0, 1, 2} - {layer})
    (mix,) = [result for result in found["results"] if result["layer"] == "mix"]
    lambdas, shares = np.array(mix["lambdas"]), np.array(mix["shares"])
    assert lambdas.shape == (2, 3)
    assert (lambdas.argmax(1) == layer).all()
    assert (shares.argmax(1) == layer).all()
    np.testing.assert_allclose(lambdas.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-5)


def test_only_memory_solves_a_control_task() -> None:
    """The layer that has the word type can memorise; that of the word before cannot."""
    found = record("before", kinds=("mlp",))
    control, selectivity = by_layer(found, "control"), by_layer(found, "selectivity")
    assert control[0] > 0.95
    assert control[1] < 0.65
    accuracies = by_layer(found)
    for layer, value in selectivity.items():
        assert value == pytest.approx(accuracies[layer] - control[layer])


def test_random_labels_are_guessed_by_chance() -> None:
    assert all(abs(mean - 0.5) < 0.08 for mean in by_layer(record("chance", 1)).values())


def test_the_facts_and_a_repetition() -> None:
    found = record("own", 1)
    assert found["words"] == {"train": 2100, "validation": 700, "test": 700}
    assert found["documents"] == {"train": 300, "validation": 100, "test": 100}
    assert found["word_types"] == TYPES
    assert found["baselines"]["word_type"] == 1
    assert found["ambiguous_in_test"] == 0
    assert found["results"][0]["ambiguous"] is None
    assert found["results"][0]["accuracy"]["low"] is None
    assert record("own", 1) == found


def test_a_static_encoder_has_one_layer_and_no_mix() -> None:
    both = {"planted": encoder(), "static": encoder(StaticEncoder)}
    plan = Plan(["0", "mix"], ("linear",), 1, CPU)
    told: list[str] = []
    found = study(["tag"], splits("own"), both, plan, told.append)["tag"]
    assert [(result["encoder"], result["layer"]) for result in found["results"]] == [
        ("planted", 0),
        ("planted", "mix"),
        ("static", 0),
    ]
    assert "planted: 3 layers of width 32, 3,500 words: 1 MB in half precision" in told


def test_interval_by_hand() -> None:
    found = interval(np.array([0.8, 0.9, 1.0]))
    assert found["mean"] == pytest.approx(0.9)
    assert found["high"] - found["mean"] == pytest.approx(4.3027 * 0.1 / 3**0.5, rel=1e-4)
    assert found["mean"] - found["low"] == pytest.approx(found["high"] - found["mean"])


def test_spread_is_the_distance_to_the_mean() -> None:
    vectors = torch.tensor([[[1.0, 5.0], [-1.0, 5.0]], [[0.0, 0.0], [6.0, 8.0]]]).half()
    assert spread(vectors) == pytest.approx([1, 5])
