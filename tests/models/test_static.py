from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elmo.data.text import WordTokenizer
from elmo.errors import ArtifactError
from elmo.models.classifier import TextClassifier, load_classifier
from elmo.models.encoder_config import encoder_from_config
from elmo.models.encoders import Encoder
from elmo.models.loading import load_encoder
from elmo.models.static import PairEncoder, StaticEncoder
from elmo.modules.heads import PoolHead
from elmo.modules.mixers import ScalarMix

TEXTS = ["the bank raised the rates", "rates the bank", "", "zzz bank"]
TOKENIZER = WordTokenizer.train(TEXTS[:2], min_count=1, max_size=None)
IDS = {word: index for index, word in enumerate(TOKENIZER.words)}
PAIRS = sorted([[IDS["the"], IDS["bank"]], [IDS["rates"], IDS["the"]]])


def pair_encoder(dim: int = 5) -> PairEncoder:
    torch.manual_seed(0)
    return PairEncoder(TOKENIZER, dim, np.array(PAIRS))


def test_static_vectors_do_not_depend_on_the_context() -> None:
    torch.manual_seed(0)
    tokenizer = WordTokenizer.train(["the bank raised its rates river"], 1, None)
    encoder = StaticEncoder(tokenizer, dim=5)
    first, second = encoder.embed(["the bank raised", "river bank"])
    assert first.vectors.shape == (1, 3, 5)
    assert torch.equal(first.vectors[:, 1], second.vectors[:, 1])


def test_the_second_layer_holds_the_pair_with_the_next_word() -> None:
    encoder = pair_encoder()
    pairs = encoder.pair_embedding.table.weight
    the_bank = pairs[1 + PAIRS.index([IDS["the"], IDS["bank"]])]
    rates_the = pairs[1 + PAIRS.index([IDS["rates"], IDS["the"]])]
    nothing = torch.zeros(5)
    expected = [
        [the_bank, nothing, nothing, nothing, nothing],
        [rates_the, the_bank, nothing],
        [],
        [nothing, nothing],
    ]
    words = StaticEncoder(TOKENIZER, 5)
    words.embedding = encoder.embedding
    for found, alone, rows in zip(encoder.embed(TEXTS), words.embed(TEXTS), expected, strict=True):
        assert torch.equal(found.vectors[0], alone.vectors[0])
        for vector, row in zip(found.vectors[1], rows, strict=True):
            assert torch.equal(vector, row)


def test_without_pairs_the_second_layer_is_zero() -> None:
    encoder = PairEncoder(TOKENIZER, 5, np.empty((0, 2), dtype=np.int64))
    assert not encoder.embed(TEXTS)[0].vectors[1].any()


@pytest.mark.parametrize("encoder", [StaticEncoder(TOKENIZER, 5), pair_encoder()])
def test_a_classifier_is_loaded_as_it_was_saved(encoder: Encoder, tmp_path: Path) -> None:
    mixer, head = ScalarMix(encoder.num_layers, 5), PoolHead(5, 4)
    model = TextClassifier(encoder, mixer, head, list("wxyz")).eval()
    model.save(tmp_path / "classifier.pt", {})
    assert load_classifier(tmp_path / "classifier.pt").predict(TEXTS) == model.predict(TEXTS)
    loaded = load_encoder(tmp_path / "classifier.pt").embed(TEXTS)
    for found, expected in zip(loaded, encoder.embed(TEXTS), strict=True):
        assert torch.equal(found.vectors, expected.vectors)


@pytest.mark.parametrize("pairs", ["5 4 4 5", "4 5 4 5", "4 99", "-1 4", "4", "4 x", 7, [4, 5]])
def test_pairs_that_are_none_are_refused(pairs: Any) -> None:
    config = {"class": "PairEncoder", "arguments": {"dim": 5, "pairs": pairs}}
    with pytest.raises(ArtifactError, match="its PairEncoder cannot be built"):
        encoder_from_config(config, TOKENIZER)


def test_an_encoder_is_named_by_a_class_of_its_own_modules() -> None:
    for name in ("Encoder", "TokenEmbedding", "WordTokenizer", "np"):
        with pytest.raises(ArtifactError, match=f"names the class '{name}'"):
            encoder_from_config({"class": name, "arguments": {}}, TOKENIZER)
