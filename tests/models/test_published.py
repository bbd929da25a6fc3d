"""Published models give the vectors they must, whatever the options and whatever the batch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from elmo.data.batches import text_batches
from elmo.data.characters import character_ids
from elmo.errors import ConfigError, DataError
from elmo.models.encoders import ElmoEncoder
from elmo.models.loading import load_bilm
from models.published_reference import DEV, NAMES, Reference, arrays_of, options_of, write_model

Sentences = list[list[str]]

SENTENCES: Sentences = [
    ["The", "bank", "raised", "its", "rates", "."],
    ["é"],
    ["the", "river", "<S>", "left", "</S>", "its", "bank", "<UNK>"],
    [],
    ["x" * 60, "日本語" * 17, "a" * 47, "b" * 48, "c" * 49, "🙂", ""],
]
VOCABULARY = ["bank", "<S>", "the", "</S>", "The", "<UNK>", "."]  # in an order of its own


def calls_of(name: str) -> list[Sentences]:
    return json.loads((DEV / name / "sentences.json").read_text())


def expected_of(name: str, convention: str, call: int) -> list[np.ndarray]:
    with h5py.File(DEV / name / "expected.hdf5") as file:
        group = file[f"{convention}/{call}"]
        return [group[str(row)][()] for row in range(len(group))]


def with_boundaries(encoder: ElmoEncoder, sentences: Sequence[Sequence[str]]) -> list[np.ndarray]:
    """The layers (L, T + 2, D) of each sentence, all in one batch."""
    ((_, batch),) = text_batches(sentences, encoder.tokenizer, None)
    layers = encoder(batch).numpy()
    return [layers[:, row, : len(words) + 2] for row, words in enumerate(sentences)]


def assert_close(found: Sequence[np.ndarray], expected: Sequence[np.ndarray], atol: float) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=atol, rtol=1e-5 if atol > 1e-6 else 0)


def vectors(encoder: ElmoEncoder, texts: Any, **options: Any) -> list[np.ndarray]:
    return [embedding.vectors.numpy() for embedding in encoder.embed(texts, **options)]


@pytest.mark.parametrize(
    ("double", "atol"), [(False, 2e-5), (True, 5e-7)], ids=["float32", "float64"]
)
@pytest.mark.parametrize("name", NAMES)
def test_fresh_layers(name: str, double: bool, atol: float) -> None:
    encoder = load_bilm(DEV / name)
    if double:
        encoder.double()
    for number, sentences in enumerate(calls_of(name)):
        expected = expected_of(name, "fresh_with_boundaries", number)
        assert_close(with_boundaries(encoder, sentences), expected, atol)
        if not double:
            assert_close(vectors(encoder, sentences), [e[:, 1:-1] for e in expected], atol)


@pytest.mark.parametrize("name", NAMES)
def test_stateful_layers(name: str) -> None:
    """The calls have different numbers of rows: some leave, come back, or are new."""
    encoder = load_bilm(DEV / name, stateful=True)
    for number, sentences in enumerate(calls_of(name)):
        expected = expected_of(name, "stateful", number)
        assert_close(vectors(encoder, sentences, token_budget=8), expected, 1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_warm_layers(name: str) -> None:
    """As simple_elmo: the first batch is embedded once before, and only that one."""
    calls = calls_of(name)
    stateful = load_bilm(DEV / name, stateful=True)
    stateful.embed(calls[0])
    warm = load_bilm(DEV / name, stateful=True, warm_up=True)
    for sentences in calls:
        assert_close(vectors(warm, sentences), vectors(stateful, sentences), 0)


def test_a_reference_of_its_own_agrees_with_the_stored_values() -> None:
    for name in NAMES:
        with h5py.File(DEV / name / "weights.hdf5") as file:
            arrays: dict[str, np.ndarray] = {}
            file.visititems(
                lambda key, found, arrays=arrays: (
                    arrays.update({key: found[()]}) if isinstance(found, h5py.Dataset) else None
                )
            )
        options = json.loads((DEV / name / "options.json").read_text())
        words = (DEV / name / "vocab.txt").read_text().split() if name == "word_level" else []
        reference = Reference(options, arrays, words)
        for number, sentences in enumerate(calls_of(name)):
            found = [reference.layers(words, row)[:, 1:-1] for row, words in enumerate(sentences)]
            assert_close(found, expected_of(name, "stateful", number), 5e-7)


VARIANTS: dict[str, dict[str, Any]] = {
    "all": {},
    "tanh": {"activation": "tanh"},
    "no highway": {"n_highway": None},
    "0 highways": {"n_highway": 0},
    "3 highways": {"n_highway": 3},
    "261 characters": {"n_characters": 261},
    "characters not counted": {"n_characters": None},
    "filters in another order": {"filters": [[5, 3], [1, 2], [1, 3], [4, 1]]},
    "no projection after the filters": {"filters": [[2, 3], [1, 2]]},
    "fewer filters than the width": {"filters": [[2, 3]]},
    "filters as wide as a word": {"filters": [[7, 3], [1, 1]], "max_characters_per_token": 7},
    "no projection of the cell": {"dim": 5},
    "no clip": {"cell_clip": None, "proj_clip": None},
    "a clip of the cell alone": {"proj_clip": None},
    "a clip of the projection alone": {"cell_clip": None},
    "no skip": {"use_skip_connections": False},
    "3 layers": {"n_layers": 3},
    "1 layer": {"n_layers": 1},
    "layers not counted": {"n_layers": None},
    "short words": {"max_characters_per_token": 6},
    "long words": {"max_characters_per_token": 70},
    "length of words not given": {"max_characters_per_token": None},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_all_options(variant: str, tmp_path: Path) -> None:
    options = options_of(**VARIANTS[variant])
    arrays = arrays_of(options)
    encoder = load_bilm(write_model(tmp_path / "model", options, arrays)).double()
    expected = [Reference(options, arrays).layers(words) for words in SENTENCES]
    assert_close(with_boundaries(encoder, SENTENCES), expected, 1e-12)


@pytest.mark.parametrize("variant", ["all", "no projection of the cell", "layers not counted"])
def test_all_options_at_word_level(variant: str, tmp_path: Path) -> None:
    options = options_of(characters=False, **VARIANTS[variant])
    arrays = arrays_of(options, len(VOCABULARY))
    encoder = load_bilm(write_model(tmp_path / "model", options, arrays, VOCABULARY)).double()
    reference = Reference(options, arrays, VOCABULARY)
    expected = [reference.layers(words) for words in SENTENCES]
    assert_close(with_boundaries(encoder, SENTENCES), expected, 1e-12)


@pytest.mark.parametrize("variant", ["all", "no projection of the cell", "no clip", "3 layers"])
def test_all_options_with_a_state(variant: str, tmp_path: Path) -> None:
    options = options_of(**VARIANTS[variant])
    arrays = arrays_of(options)
    folder = write_model(tmp_path / "model", options, arrays)
    encoder, reference = load_bilm(folder, stateful=True).double(), Reference(options, arrays)
    for rows in (2, 5, 1, 0, 3):
        sentences = SENTENCES[5 - rows :]
        expected = [reference.layers(words, row)[:, 1:-1] for row, words in enumerate(sentences)]
        assert_close(vectors(encoder, sentences), expected, 1e-5)


def test_a_single_layer_as_bilm_tf_dumps_it(tmp_path: Path) -> None:
    """It lies at RNN_0/RNN/LSTMCell, without MultiRNNCell."""
    options = options_of(n_layers=None)
    arrays = arrays_of(options)
    dumped = {name.replace("MultiRNNCell/Cell0/", ""): array for name, array in arrays.items()}
    assert dumped.keys() != arrays.keys()
    encoder = load_bilm(write_model(tmp_path / "model", options, dumped)).double()
    expected = [Reference(options, arrays).layers(words) for words in SENTENCES]
    assert_close(with_boundaries(encoder, SENTENCES), expected, 1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_text_has_the_same_vectors_in_every_batch(name: str) -> None:
    encoder = load_bilm(DEV / name)
    sentences = [words for call in calls_of(name) for words in call]
    alone = [vectors(encoder, [words])[0] for words in sentences]
    for budget in (1, 16, 40, 10_000):
        assert_close(vectors(encoder, sentences, token_budget=budget), alone, 1e-5)
    assert_close(vectors(encoder, sentences[::-1]), alone[::-1], 1e-5)
    assert_close(vectors(encoder, sentences), vectors(encoder, sentences), 0)  # keeps no state


def test_padding_changes_nothing() -> None:
    encoder = load_bilm(DEV / "released_shape")
    sentences = calls_of("released_shape")[0]
    ((_, batch),) = text_batches(sentences, encoder.tokenizer, None)
    wider = batch._replace(
        tokens=torch.nn.functional.pad(batch.tokens, (0, 9)),
        spellings=batch.spellings
        and batch.spellings._replace(
            places=torch.nn.functional.pad(batch.spellings.places, (0, 9), value=0)
        ),
    )
    layers, more = encoder(batch), encoder(wider)
    for row, length in enumerate(batch.lengths.tolist()):
        torch.testing.assert_close(layers[:, row, :length], more[:, row, :length])


def test_nothing_beyond_a_text(tmp_path: Path) -> None:
    """Layers are zero there, layer 0 included, as in AllenNLP."""
    encoder = load_bilm(DEV / "released_shape")
    ((_, batch),) = text_batches(SENTENCES, encoder.tokenizer, None)
    layers = encoder(batch)
    assert not layers.transpose(0, 1)[~batch.mask.unsqueeze(1).expand(-1, 3, -1)].any()
    assert layers.transpose(0, 1)[batch.mask.unsqueeze(1).expand(-1, 3, -1)].any(-1).all()


def test_words_and_texts_are_the_same() -> None:
    encoder = load_bilm(DEV / "released_shape")
    text, words = encoder.embed(["U.S. shares didn't  rise 3.5%", ["Oil", "'s", "up"]])
    assert text.tokens == ["U.S.", "shares", "didn", "'t", "rise", "3.5", "%"]
    assert words.tokens == ["Oil", "'s", "up"]
    (again,) = encoder.embed([text.tokens])
    torch.testing.assert_close(again.vectors, text.vectors)
    (lower,) = encoder.embed([[word.lower() for word in text.tokens]])
    assert not torch.allclose(lower.vectors[:, 0], text.vectors[:, 0], atol=1e-3)


def test_characters_of_a_word_are_not_changed() -> None:
    """No lower-casing, no normalisation, no cleaning of words."""
    encoder = load_bilm(DEV / "released_shape")
    for one, other in (("ﬁ", "fi"), ("é", "e\u0301"), ("&amp;", "&"), (" a", "a"), ("\uff12", "2")):
        first, second = vectors(encoder, [[one], [other]])
        assert np.abs(first[0] - second[0]).max() > 1e-3, one


def test_white_space_splits_what_is_tokenized_already() -> None:
    encoder = load_bilm(DEV / "released_shape", pre_tokenizer="white_space")
    assert encoder.embed(["U.S.-based can't"])[0].tokens == ["U.S.-based", "can't"]


def test_half_a_surrogate_pair() -> None:
    """It has no bytes in a list of words; a text cannot hold one."""
    encoder = load_bilm(DEV / "released_shape")
    first, second = vectors(encoder, [["a\ud83db", "\ud83d"], ["ab", ""]])
    np.testing.assert_array_equal(first, second)
    with pytest.raises(DataError, match="half a surrogate pair"):
        encoder.embed(["a\ud83db"])


@pytest.mark.parametrize("name", ["released_shape", "no_skip_tanh"])
def test_character_ids(name: str) -> None:
    with h5py.File(DEV / name / "expected.hdf5") as file:
        expected, tokens = file["char_ids"][()], json.loads(file["char_ids"].attrs["tokens"])
    assert len(tokens) == len(expected)
    for token, ids in zip(tokens, expected, strict=True):
        assert character_ids(token, expected.shape[1]).tolist() == ids.tolist(), token


def test_a_state_is_for_published_models(encoder: ElmoEncoder) -> None:
    with pytest.raises(ConfigError, match="stateful=True is for models in the published format"):
        ElmoEncoder(encoder.tokenizer, encoder.bilm, stateful=True)
    with pytest.raises(ConfigError, match="warm_up=True needs stateful=True"):
        load_bilm(DEV / "released_shape", warm_up=True)
