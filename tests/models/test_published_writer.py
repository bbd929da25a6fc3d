"""Writing the published format: bit for bit, for every kind of biLM, and nothing kept silent."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import nn

import elmo
from conftest import ROOT
from elmo.data.text import WordTokenizer
from elmo.errors import ArtifactError, ConfigError
from elmo.models import published
from elmo.models.encoders import ElmoEncoder
from elmo.models.published_options import (
    Options,
    expected_datasets,
    identity_datasets,
    read_options,
)
from elmo.models.published_readers import limits_of_readers
from elmo.models.published_writer import options_of, write_published
from elmo.modules.bilm import BiLM

MODELS = ROOT / "tests" / "published"
TEXTS = ["the bank raised its rates .", "the river left its bank !"]
DOCUMENTS = [text.split() for text in TEXTS] + [["unheard", "bank"], []]
FILTERS = [[1, 4], [3, 6], [2, 2]]  # F = 12
CHARACTERS = {"char_dim": 5, "filters": FILTERS, "num_highways": 1, "max_characters": 20}
PROJECTED: dict[str, Any] = {"cell_dim": 16, "cell_clip": 0.3, "projection_clip": 0.2}


def datasets(file: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    with h5py.File(file) as weights:
        assert not weights.attrs

        def read(name: str, item: Any) -> None:
            assert not item.attrs
            if isinstance(item, h5py.Dataset):
                assert item.dtype == np.float32
                assert (item.chunks, item.compression) == (None, None)
                found[name] = item[...]

        weights.visititems(read)
    return found


def made(seed: int = 0, characters: dict[str, Any] | None = None, **arguments: Any) -> ElmoEncoder:
    """An untrained biLM with weights unlike those of a new one, and its words."""
    torch.manual_seed(seed)
    tokenizer = WordTokenizer.train(TEXTS, min_count=1, max_size=None)
    if characters is not None:
        tokenizer = WordTokenizer(tokenizer.json, characters["max_characters"])
    shape = {"embedding_dim": 8, "hidden_dim": 8, **arguments}
    bilm = BiLM(len(tokenizer), characters=characters, **shape)
    with torch.no_grad():
        for name, parameter in bilm.named_parameters():
            if "bias" in name:
                parameter.add_(torch.randn_like(parameter))
            elif "table" in name:
                parameter[1:].mul_(10)
    return ElmoEncoder(tokenizer, bilm)


def same_vectors(one: ElmoEncoder, other: ElmoEncoder, documents: Sequence[list[str]]) -> None:
    pairs = zip(one.embed(documents), other.embed(documents), strict=True)
    for expected, found in pairs:
        assert expected.tokens == found.tokens
        torch.testing.assert_close(found.vectors, expected.vectors, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["released_shape", "no_skip_tanh", "word_level"])
def test_load_and_save_gives_every_dataset_back(name: str, tmp_path: Path) -> None:
    write_published(elmo.load_bilm(MODELS / name), tmp_path / name)
    expected = datasets(MODELS / name / "weights.hdf5")
    found = datasets(tmp_path / name / "weights.hdf5")
    assert found.keys() == expected.keys()
    for dataset, values in expected.items():
        assert found[dataset].tobytes() == values.tobytes(), dataset
    options = [read_options(folder / name / "options.json") for folder in (MODELS, tmp_path)]
    assert options[0] == options[1]
    words = [folder / name / "vocab.txt" for folder in (MODELS, tmp_path)]
    assert words[0].exists() == words[1].exists() == (name == "word_level")
    if name == "word_level":
        assert words[0].read_bytes() == words[1].read_bytes()
    else:
        content = json.loads((tmp_path / name / "options.json").read_text())
        assert content["char_cnn"]["n_characters"] == 262


WORD_LEVEL: dict[str, dict[str, Any]] = {
    "plain": {},
    "narrow embedding": {"embedding_dim": 6},
    "wide embedding, no skips": {"embedding_dim": 11, "residual": False, "num_layers": 3},
    "one layer": {"num_layers": 1},
    "projected": PROJECTED,
    "projected and mapped": {**PROJECTED, "embedding_dim": 6},
    "as wide as its cells": {"cell_dim": 8, "cell_clip": 0.3, "projection_clip": 2.0},
}
SPELLED: dict[str, dict[str, Any]] = {
    "projection": {},
    "map after the projection": {"embedding_dim": 6},
    "map after as many filters": {"embedding_dim": 12},
    "as many filters as numbers": {"embedding_dim": 12, "hidden_dim": 12},
    "fewer filters": {"embedding_dim": 20, "hidden_dim": 20, **PROJECTED, "cell_dim": 24},
    "projected": PROJECTED,
}


@pytest.mark.parametrize("title", WORD_LEVEL)
def test_a_word_level_bilm_gives_the_same_vectors(title: str, tmp_path: Path) -> None:
    encoder = made(**WORD_LEVEL[title])
    sentences = write_published(encoder, tmp_path / "model")
    loaded = elmo.load_bilm(tmp_path / "model")
    assert loaded.tokenizer.words == encoder.tokenizer.words
    same_vectors(encoder, loaded, DOCUMENTS)
    assert any("lower-cased" in one and ".lower()" in one for one in sentences)
    shown, changed = encoder.embed([["Bank"]])[0], loaded.embed([["Bank"]])[0]
    assert not torch.allclose(shown.vectors, changed.vectors, atol=1e-3)  # as the sentence says


@pytest.mark.parametrize("title", SPELLED)
def test_a_bilm_with_characters_gives_the_same_vectors(title: str, tmp_path: Path) -> None:
    encoder = made(characters=CHARACTERS, **SPELLED[title])
    sentences = write_published(encoder, tmp_path / "model")
    assert sorted(file.name for file in (tmp_path / "model").iterdir()) == [
        "options.json",
        "weights.hdf5",
    ]
    same_vectors(encoder, elmo.load_bilm(tmp_path / "model"), [*DOCUMENTS, ["Bänk", "bank" * 9]])
    assert not any("lower-cased" in sentence for sentence in sentences)


@pytest.mark.parametrize("title", [*WORD_LEVEL, *SPELLED])
def test_datasets_are_those_of_the_options_and_identities(title: str, tmp_path: Path) -> None:
    characters = CHARACTERS if title in SPELLED and title not in WORD_LEVEL else None
    encoder = made(characters=characters, **{**SPELLED, **WORD_LEVEL}[title])
    write_published(encoder, tmp_path / "model")
    options = read_options(tmp_path / "model" / "options.json")
    words = None if characters else len(encoder.tokenizer) - 1  # all but padding
    found = datasets(tmp_path / "model" / "weights.hdf5")
    identities = identity_datasets(options)
    shapes = {**expected_datasets(options, words), **identities}
    if "CNN_proj/W_proj" in identities:
        shapes["CNN_proj/b_proj"] = (options.projection_dim,)
    assert {name: values.shape for name, values in found.items()} == shapes
    assert bool(identities) == (options.dim == 8 or options.num_filters == options.projection_dim)
    for name, shape in identities.items():
        np.testing.assert_array_equal(found[name], np.eye(shape[0]))


def test_a_map_for_which_there_is_no_place(tmp_path: Path) -> None:
    encoder = made(characters=CHARACTERS, embedding_dim=6, hidden_dim=12)
    with pytest.raises(ArtifactError, match="12 character filters, as many as"):
        write_published(encoder, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    encoder = made()
    last = encoder.bilm.backward_lstm.layers[-1]
    assert isinstance(last, nn.LSTM)
    last.get_parameter("bias_hh_l0").data[3] = float("nan")
    with pytest.raises(ArtifactError, match=r"RNN_1/.*Cell1/LSTMCell/B.* not finite"):
        write_published(encoder, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "model").mkdir()
    with pytest.raises(ConfigError, match="model: exists already"):
        write_published(made(), tmp_path / "model")
    assert list((tmp_path / "model").iterdir()) == []


def test_words_that_no_line_can_hold_are_named(tmp_path: Path) -> None:
    texts = ["<UNK> the bank <S> is here"]
    tokenizer = WordTokenizer.train(texts, 1, None, lowercase=False, pre_tokenizer="white_space")
    encoder = ElmoEncoder(tokenizer, BiLM(len(tokenizer), 4, 4))
    sentences = write_published(encoder, tmp_path / "model")
    assert any(re.search(r"leaves out 2 words, such as '<S>'", one) for one in sentences)
    assert any("data.pre_tokenizer=white_space" in one for one in sentences)
    loaded = elmo.load_bilm(tmp_path / "model")
    assert set(loaded.tokenizer.words[4:]) == {"the", "bank", "is", "here"}
    same_vectors(encoder, loaded, [["here", "is", "the", "bank"]])


def test_a_clip_that_never_acts_is_left_out_and_named(tmp_path: Path) -> None:
    encoder = made(cell_dim=8, projection_clip=0.5)
    sentences = write_published(encoder, tmp_path / "model")
    assert any("proj_clip is null, not 0.5" in sentence for sentence in sentences)
    same_vectors(encoder, elmo.load_bilm(tmp_path / "model"), DOCUMENTS)
    assert options_of(made(cell_dim=8, projection_clip=1.0).bilm).projection_clip == 1.0
    assert options_of(made(cell_dim=9, projection_clip=0.5).bilm).projection_clip == 0.5


# Every English model that was released has options like these.
RELEASED = Options(
    dim=16,
    projection_dim=4,
    num_layers=2,
    cell_clip=3.0,
    projection_clip=3.0,
    skip=True,
    characters={**CHARACTERS, "max_characters": 50},
)


def refused(options: Options) -> dict[str, str]:
    """What each reader that cannot open a model needs."""
    sentences = limits_of_readers(WordTokenizer.of_words([]), options, cached=False)
    found = [re.fullmatch(r"(\S+) cannot open it: (.*)\.", sentence) for sentence in sentences]
    return {match[1]: match[2] for match in found if match}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {}),
        ({"skip": False}, {"AllenNLP": "skip", "pytorch-fast-elmo": "skip"}),
        ({"skip": False, "num_layers": 1}, {"AllenNLP": "skip"}),
        ({"characters": None}, {"AllenNLP": "whole words"}),
        (
            {"characters": None, "skip": False},
            {"AllenNLP": "words; .*skip", "pytorch-fast-elmo": ""},
        ),
        ({"characters": CHARACTERS}, {"AllenNLP": "50 characters there, and 20 here"}),
        ({"num_layers": 8}, {}),
        ({"num_layers": 9}, {"bilm-tf": "at most 8 layers", "simple_elmo": "here are 9"}),
        ({"cell_clip": None}, {"pytorch-fast-elmo": "null for cell_clip$"}),
        (
            {"cell_clip": None, "projection_clip": None},
            {"pytorch-fast-elmo": "null for cell_clip or proj_clip"},
        ),
        ({"projection_dim": 13}, {"bilm-tf": "projection_dim=13", "simple_elmo": "here are 12"}),
        ({"projection_dim": 12}, {}),
    ],
)
def test_readers_that_cannot_open_a_model_are_named(
    changes: dict[str, Any], expected: dict[str, str]
) -> None:
    found = refused(RELEASED._replace(**changes))
    assert found.keys() == expected.keys()
    for reader, reason in expected.items():
        assert re.search(reason, found[reader])


def test_what_no_reader_does_is_said() -> None:
    tokenizer = WordTokenizer.train(TEXTS, 1, None, lowercase=False)
    words = RELEASED._replace(characters=None)
    said = " ".join(limits_of_readers(tokenizer, words, cached=False))
    assert "normalize('NFKC', word)." in said
    assert "lower" not in said
    assert "data.pre_tokenizer=words" in said
    assert "embedding_weight_file" in said
    assert "stateful=True" in said
    assert "rename" not in said
    said = " ".join(limits_of_readers(tokenizer, RELEASED, cached=True))
    assert "NFKC" not in said
    assert "rename weights.hdf5" in said
    published_words = WordTokenizer.of_words(["bank"])
    said = " ".join(limits_of_readers(published_words, words, cached=False))
    assert "NFKC" not in said
    assert "pre_tokenizer" not in said


@pytest.mark.parametrize("mapped", [False, True])
def test_token_vectors_of_a_vocabulary(mapped: bool, tmp_path: Path) -> None:
    encoder = made(characters=CHARACTERS, embedding_dim=6 if mapped else 8)
    words = ["bank", "Bank", "</S>", "the", "überlang" * 5]
    folder = tmp_path / "model"
    write_published(encoder, folder, words)
    lines = (folder / "vocab.txt").read_text().splitlines()
    assert lines == ["<S>", "</S>", "<UNK>", "bank", "Bank", "the", "überlang" * 5]
    assert datasets(folder / "vocab_embedding.hdf5")["embedding"].shape == (7, 8)
    cached = elmo.load_bilm(
        folder / "options.json",
        folder / "weights.hdf5",
        vocabulary=folder / "vocab.txt",
        embeddings=folder / "vocab_embedding.hdf5",
    )
    documents = [["the", "Bank", "bank"], ["überlang" * 5, "<S>"], ["<UNK>"]]
    assert cached.bilm.characters is None
    same_vectors(encoder, cached, documents[:2])
    unknown = encoder.embed([["<UNK>"]])[0].vectors
    torch.testing.assert_close(cached.embed([["anything"]])[0].vectors, unknown, rtol=0, atol=1e-6)


def zipped(folder: Path) -> Path:
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    return folder.with_suffix(".zip")


def test_a_model_with_token_vectors_beside_it_reads_characters(tmp_path: Path) -> None:
    encoder = made(characters=CHARACTERS)
    folder = tmp_path / "model"
    write_published(encoder, folder, ["bank"])
    for path in (folder, folder / "options.json", zipped(folder)):
        loaded = elmo.load_bilm(path)
        assert loaded.bilm.characters is not None
        same_vectors(encoder, loaded, [["unheard", "bank"]])
    named = elmo.load_bilm(folder, embeddings=folder / "vocab_embedding.hdf5")
    assert named.tokenizer.words[4:] == ["bank"]


def test_a_vocabulary_is_for_characters(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="for models that read characters"):
        write_published(made(), tmp_path / "model", ["bank"])


def test_a_zip_may_hold_identities_and_many_token_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published, "SLACK", 40_000)
    write_published(made(hidden_dim=96, num_layers=1), tmp_path / "words")
    assert elmo.load_bilm(zipped(tmp_path / "words")).dim == 192
    spelled = made(characters=CHARACTERS, num_layers=1)
    write_published(spelled, tmp_path / "spelled", [f"word{n}" for n in range(3000)])
    assert elmo.load_bilm(zipped(tmp_path / "spelled")).bilm.characters is not None
