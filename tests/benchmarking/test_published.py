"""The benchmarks of published models and of misspellings at a tiny size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import misspellings, published
from elmo.data.batches import text_batches
from elmo.data.text import WordTokenizer
from elmo.models.encoders import ElmoEncoder
from elmo.models.published_options import Options, parse_options
from elmo.modules.projected_lstm import Clips, ProjectedStack

TEXT = "The central bank raised its key rate again, by 0.25 points."


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> Options:
    """A narrow model whose filters are all equally wide, so that padding is cut exactly."""
    monkeypatch.setitem(published.SHAPES, "tiny", (16, 8, 1))
    monkeypatch.setattr(published, "FILTERS", [[3, 4], [3, 8]])
    return parse_options(published.options_of("tiny"))


def test_flops_equal_the_count_of_pytorch(options: Options) -> None:
    torch.manual_seed(0)
    tokenizer = WordTokenizer.of_words([], max_characters=50)
    encoder = ElmoEncoder(tokenizer, options.bilm(len(tokenizer))).eval()
    words = ["a", "b", "x" * 60, "a", "é" * 24]  # as long as the marks, or as long as can be
    ((_, batch),) = text_batches([words], tokenizer, None)
    assert batch.spellings is not None
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoder(batch)
    assert published.flops_of(options, [words]) == counter.get_total_flops()


def test_the_textbook_computes_the_same_layer() -> None:
    torch.manual_seed(0)
    stack = ProjectedStack(4, 1, 0.0, True, False, 0.0, cell_dim=8, clips=Clips(0.5, 0.2)).eval()
    inputs = torch.randn(3, 5, 4) * 4
    with torch.no_grad():
        ours = stack(inputs)[0]
        torch.testing.assert_close(published.textbook_layer(stack.layers[0], inputs), ours)
        assert ours.abs().max() == pytest.approx(0.2)  # a clip acts


def test_a_model_of_the_benchmark_is_loaded(options: Options, tmp_path: Path) -> None:
    published.write_model("tiny", tmp_path / "model")
    bilm = published.loaded(tmp_path / "model").bilm
    assert (bilm.cell_dim, bilm.hidden_dim, bilm.num_layers) == (16, 8, 2)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_share_of_the_words_is_misspelt(share: float) -> None:
    texts = [TEXT] * 200
    random = np.random.default_rng(0)
    changed = [misspellings.misspell(text, share, random) for text in texts]
    pairs = [
        (word, other)
        for text, after in zip(texts, changed, strict=True)
        for word, other in zip(text.split(), after.split(), strict=True)
    ]
    letters = [(word, other) for word, other in pairs if word.strip(",.").isalpha()]
    assert all(word == other for word, other in pairs if "0" in word)  # numbers stay
    # Two equal letters change places, or one is replaced by itself: a few words stay.
    found = sum(word != other for word, other in letters) / len(letters)
    assert found == pytest.approx(share, abs=0.06)
    assert all(abs(len(word) - len(other)) <= 1 for word, other in pairs)


def test_misspellings_are_the_same_for_every_run() -> None:
    one, same, other = (
        misspellings.misspell(TEXT, 0.5, np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    assert one == same != other
