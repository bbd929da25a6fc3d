from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gensim.models import KeyedVectors, Word2Vec

from elmo.data.batches import Batch, pad
from elmo.data.corpora.toy import ToyNews
from elmo.data.text import PAD, UNK, WordTokenizer
from elmo.errors import ConfigError, DataError
from elmo.models.static import PairEncoder
from elmo.models.vector_files import read_vectors
from elmo.models.word2vec import (
    Sentences,
    Word2VecStart,
    frequent_pairs,
    train_word2vec,
    word2vec_encoder,
)
from elmo.modules.embedding import TokenEmbedding
from small_corpora import toy_news

DIM = 8
FILE_WORDS = ["bank", "river", "elsewhere", "café"]  # "elsewhere" is in no vocabulary below
FILE_VECTORS = np.arange(32, dtype=np.float32).reshape(4, DIM) / 7 - 2


def small_toy(cache_dir: Path) -> ToyNews:
    return toy_news(cache_dir, rows=400, test_rows=100, validation_size=100, min_count=1)


@pytest.fixture(scope="module")
def small(cache_dir: Path) -> ToyNews:
    """A corpus so small that training word vectors takes a moment."""
    return small_toy(cache_dir)


def start(path: Path | None = None, **changes: Any) -> Word2VecStart:
    defaults = {"dim": DIM, "freeze": False, "window": 3, "epochs": 2, "seed": 0}
    return Word2VecStart(path=str(path) if path else None, **{**defaults, **changes})


def embedding_of(tokenizer: WordTokenizer, dim: int = DIM) -> TokenEmbedding:
    torch.manual_seed(0)
    return TokenEmbedding(len(tokenizer), dim)


def train(corpus: ToyNews, seed: int = 0) -> KeyedVectors:
    return train_word2vec(corpus, corpus.tokenizer, DIM, window=3, epochs=2, seed=seed)


def refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("trained again")


def test_training_reads_the_train_split_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = small_toy(tmp_path)
    read: Counter[tuple[str, ...]] = Counter()

    def spy(sentences: Iterable[list[str]], **settings: Any) -> Word2Vec:
        read.update(map(tuple, sentences))
        return Word2Vec(sentences, **settings)  # which reads them several times

    monkeypatch.setattr("elmo.models.word2vec.Word2Vec", spy)
    train(corpus)
    # min_count is 1, so no word of the train split is unknown.
    documents = corpus.tokenizer.encode(list(corpus.splits["train"]["text"]))
    assert read == Counter(tuple(map(str.lower, document.words)) for document in documents)


def test_training_repeats_bit_for_bit(small: ToyNews, tmp_path: Path) -> None:
    first, again = train(small), train(small_toy(tmp_path))
    assert first.index_to_key == again.index_to_key
    assert np.array_equal(first.vectors, again.vectors)
    assert not np.array_equal(first.vectors, train(small, seed=1).vectors)


def test_the_second_call_reads_the_cache(small: ToyNews, monkeypatch: pytest.MonkeyPatch) -> None:
    first = train(small)
    monkeypatch.setattr("elmo.models.word2vec.Word2Vec", refuse)
    again = train(small)
    assert again.index_to_key == first.index_to_key
    assert np.array_equal(again.vectors, first.vectors)


@pytest.mark.parametrize("change", [{"dim": 9}, {"window": 4}, {"epochs": 3}, {"seed": 2}])
def test_other_settings_train_again(
    change: dict[str, Any], small: ToyNews, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(small)
    monkeypatch.setattr("elmo.models.word2vec.Word2Vec", refuse)
    with pytest.raises(AssertionError, match="trained again"):
        start(**change).fill(torch.zeros(len(small.tokenizer), 9), small, small.tokenizer)


@pytest.mark.parametrize("change", [{"sample": 0.01}, {"exponent": 0.5}, {"skip_gram": False}])
def test_settings_of_the_encoder_change_its_vectors(change: dict[str, Any], small: ToyNews) -> None:
    settings: dict[str, Any] = {"dim": DIM, "window": 3, "epochs": 2, "seed": 0}
    before = word2vec_encoder(small, **settings).embedding.table.weight
    assert not torch.equal(
        word2vec_encoder(small, **settings, **change).embedding.table.weight, before
    )


@pytest.mark.parametrize(("name", "value"), [("window", 0), ("sample", -0.1), ("exponent", 1.5)])
def test_numbers_out_of_range_are_refused(name: str, value: float, small: ToyNews) -> None:
    settings: dict[str, Any] = {"dim": DIM, "window": 3, "epochs": 2, "seed": 0, name: value}
    with pytest.raises(ConfigError, match=rf"encoder\.{name} is {value}"):
        word2vec_encoder(small, **settings)


@pytest.mark.parametrize("freeze", [False, True])
def test_every_word_of_the_train_split_starts_from_its_vector(freeze: bool, small: ToyNews) -> None:
    tokenizer = small.tokenizer
    embedding = embedding_of(tokenizer)
    record = start(freeze=freeze).apply(embedding, small, tokenizer)
    vectors = train(small)
    for index, word in enumerate(tokenizer.words[4:], start=4):
        assert np.array_equal(embedding.table.weight[index].detach(), vectors[word])
    assert record == {
        "words_with_vector": len(tokenizer) - 4,
        "source": "train descriptions",
    }
    assert embedding.table.weight.requires_grad is not freeze
    assert not embedding.table.weight[PAD].any()


def write_vectors(
    folder: Path, name: str, words: list[str] = FILE_WORDS, vectors: np.ndarray = FILE_VECTORS
) -> Path:
    file = folder / name
    keyed = KeyedVectors(vectors.shape[1])
    keyed.add_vectors(words, vectors)
    if name.endswith(".kv"):
        keyed.save(str(file))
    elif name.startswith("glove"):
        rows = zip(words, vectors.tolist(), strict=True)
        file.write_text("".join(f"{word} {' '.join(map(repr, row))}\n" for word, row in rows))
    else:
        keyed.save_word2vec_format(str(file), binary=name.endswith(".bin"))
    return file


FORMATS = ["vectors.kv", "vectors.bin", "vectors.txt", "vectors.vec", "glove.txt"]


@pytest.mark.parametrize("name", FORMATS)
def test_vectors_from_a_file(name: str, tmp_path: Path) -> None:
    vectors = read_vectors(write_vectors(tmp_path, name))
    assert list(vectors.index_to_key) == FILE_WORDS
    np.testing.assert_allclose(vectors.vectors, FILE_VECTORS, rtol=1e-6)


def test_vectors_too_large_for_one_file(tmp_path: Path) -> None:
    keyed = KeyedVectors(2)
    keyed.add_vectors(["bank", "river"], np.array([[1, 2], [3, 4]], dtype=np.float32))
    keyed.save(str(tmp_path / "large.kv"), sep_limit=1)
    assert (tmp_path / "large.kv.vectors.npy").exists()
    assert read_vectors(tmp_path / "large.kv")["river"].tolist() == [3, 4]


@pytest.mark.parametrize("dtype", [">f4", "<f8", "<f2"])
def test_vectors_of_other_dtypes(dtype: str, tmp_path: Path) -> None:
    keyed = KeyedVectors(2)
    keyed.add_vectors(["bank", "river"], np.array([[1, 2], [3, 4]], dtype=np.float32))
    keyed.vectors = np.asfortranarray(keyed.vectors.astype(dtype))
    keyed.save(str(tmp_path / "v.kv"))
    assert read_vectors(tmp_path / "v.kv").vectors.tolist() == [[1, 2], [3, 4]]


@pytest.fixture
def tokenizer() -> WordTokenizer:
    texts = ["bank bank river river café café other other words words"]
    return WordTokenizer.train(texts, min_count=1, max_size=None)


@pytest.mark.parametrize("name", FORMATS)
def test_words_of_the_file_are_copied_and_counted(
    name: str,
    small: ToyNews,
    tokenizer: WordTokenizer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("elmo.models.word2vec.Word2Vec", refuse)
    file = write_vectors(tmp_path, name)
    embedding = embedding_of(tokenizer)
    with caplog.at_level(logging.INFO, logger="elmo.models.word2vec"):
        record = start(file).apply(embedding, small, tokenizer)
    assert record == {"words_with_vector": 3, "source": str(file)}
    assert f"3 of {len(tokenizer)} words" in caplog.text
    for word in ("bank", "river", "café"):
        row = embedding.table.weight[tokenizer.words.index(word)].detach()
        np.testing.assert_allclose(row, FILE_VECTORS[FILE_WORDS.index(word)], rtol=1e-6)


@pytest.mark.parametrize("scale", [0.001, 1, 100])
def test_other_words_stay_random_at_the_scale_of_the_file(
    scale: float, small: ToyNews, tmp_path: Path
) -> None:
    tokenizer = small.tokenizer
    words = tokenizer.words[4:300]
    vectors = np.random.default_rng(0).normal(size=(len(words), DIM)).astype(np.float32) * scale
    embedding = embedding_of(tokenizer)
    before = embedding.table.weight.detach().clone()
    start(write_vectors(tmp_path, "vectors.kv", words, vectors)).apply(embedding, small, tokenizer)
    weight = embedding.table.weight.detach()
    others = [1, 2, 3, *range(300, len(tokenizer))]
    cosine = torch.nn.functional.cosine_similarity(weight[others], before[others])
    torch.testing.assert_close(cosine, torch.ones(len(others)))
    assert weight[others].std().item() == pytest.approx(scale, rel=0.1)
    assert not weight[PAD].any()


def test_a_file_without_known_words_changes_nothing(
    small: ToyNews, tokenizer: WordTokenizer, tmp_path: Path
) -> None:
    file = write_vectors(tmp_path, "glove.txt", ["no", "such", "thing", "here"])
    embedding = embedding_of(tokenizer)
    before = embedding.table.weight.detach().clone()
    record = start(file, freeze=True).apply(embedding, small, tokenizer)
    assert record["words_with_vector"] == 0
    assert torch.equal(embedding.table.weight, before)


def test_padding_stays_zero_even_where_the_file_has_a_vector_for_it(
    small: ToyNews, tokenizer: WordTokenizer, tmp_path: Path
) -> None:
    file = write_vectors(tmp_path, "vectors.kv", ["<pad>", "<unk>", "bank", "river"])
    embedding = embedding_of(tokenizer)
    start(file).apply(embedding, small, tokenizer)
    assert not embedding.table.weight[PAD].any()


def test_one_known_word_leaves_the_others_finite_and_different(
    small: ToyNews, tokenizer: WordTokenizer, tmp_path: Path
) -> None:
    file = write_vectors(tmp_path, "glove.txt", ["bank"], FILE_VECTORS[:1])
    embedding = embedding_of(tokenizer)
    start(file).apply(embedding, small, tokenizer)
    rows = embedding.table.weight.detach()[1:]
    assert rows.isfinite().all()
    assert len(rows.unique(dim=0)) == len(rows)


@pytest.mark.parametrize("name", FORMATS)
def test_another_width_is_refused(
    name: str, small: ToyNews, tokenizer: WordTokenizer, tmp_path: Path
) -> None:
    file = write_vectors(tmp_path, name)
    with pytest.raises(ConfigError, match=rf"{file}: .*width {DIM}.*set embedding\.dim={DIM}"):
        start(file, dim=5).apply(embedding_of(tokenizer, 5), small, tokenizer)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{tmp_path}/none\.txt: no such file.*embedding\.path"):
        read_vectors(tmp_path / "none.txt")


MALFORMED = {
    "empty.txt": b"",
    "empty.bin": b"",
    "empty.kv": b"",
    "not_a_pickle.kv": b"bank 1 2 3\n",
    "prose.txt": b"these are no vectors\nbut plain sentences\n",
    "short_line.txt": b"bank 1 2 3\nriver 1 2\n",
    "long_line.txt": b"bank 1 2 3\nriver 1 2 3 4\n",
    "fewer_rows.txt": b"3 2\nbank 1 2\nriver 1 2\n",
    "header_of_another_width.txt": b"1 3\nbank 1 2\n",
    "latin1.txt": b"caf\xe9 1 2 3\n",
    "truncated.bin": b"2 4\nbank " + b"\x00" * 16 + b"\nriver \x00\x00",
    "words_only.txt": b"bank\nriver\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_is_named(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(MALFORMED[name])
    with pytest.raises(DataError, match=rf"{file}: .*expected gensim KeyedVectors"):
        read_vectors(file)


def test_a_whole_model_is_refused(small: ToyNews, tmp_path: Path) -> None:
    file = tmp_path / "model.kv"
    Word2Vec([["a", "b"]], vector_size=DIM, min_count=1, workers=1).save(str(file))
    with pytest.raises(DataError, match=rf"{file}: "):
        start(file).apply(embedding_of(small.tokenizer), small, small.tokenizer)


def test_the_static_encoder_has_one_layer(small: ToyNews) -> None:
    encoder = word2vec_encoder(small, dim=DIM, window=3, epochs=2, seed=0)
    assert encoder.num_layers == 1
    assert encoder.dim == DIM
    assert encoder.tokenizer.words == small.tokenizer.words
    documents = encoder.tokenizer.encode(small.splits["test"]["text"][:3])
    tokens, lengths = pad([document.ids for document in documents])
    layers = encoder(Batch(tokens, lengths, lengths, lengths))
    assert layers.shape == (1, 3, tokens.shape[1], DIM)
    vectors = train(small)
    words = encoder.tokenizer.words
    for states, ids in zip(layers[0], tokens.tolist(), strict=True):
        for state, index in zip(states, ids, strict=True):
            if index == PAD:
                assert not state.any()
            elif words[index] in vectors:
                assert np.array_equal(state, vectors[words[index]])


def test_the_static_encoder_is_frozen(small: ToyNews) -> None:
    encoder = word2vec_encoder(small, dim=DIM, window=3, epochs=2, seed=0).train()
    assert not encoder.training
    assert not any(weight.requires_grad for weight in encoder.parameters())


def test_words_without_a_vector_are_drawn_by_the_seed(small: ToyNews) -> None:
    tables = []
    for seed, before in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(before)
        encoder = word2vec_encoder(small, dim=DIM, window=2, epochs=1, seed=seed)
        tables.append(encoder.embedding.table.weight)
    assert torch.equal(tables[0], tables[1])
    assert not torch.equal(tables[0][UNK], tables[2][UNK])


def test_each_frequent_pair_is_merged_once_where_it_occurs(small: ToyNews) -> None:
    pairs = frequent_pairs(small, small.tokenizer, 5)
    texts = list(Sentences(small, small.tokenizer))
    counts = Counter(" ".join(pair) for text in texts for pair in itertools.pairwise(text))
    assert pairs == {pair for pair, count in counts.items() if count >= 5}
    assert 0 < len(pairs) < len(counts)
    copies = list(Sentences(small, small.tokenizer, pairs))
    assert copies[::3] == texts
    for copy in (copies[1::3], copies[2::3]):
        assert [" ".join(text).split(" ") for text in copy] == texts
    merged = Counter(token for copy in copies for token in copy if " " in token)
    assert merged == {pair: counts[pair] for pair in pairs}


def test_pairs_are_trained_with_the_words(small: ToyNews) -> None:
    encoder = word2vec_encoder(small, dim=DIM, window=3, epochs=2, seed=0, pairs=5)
    assert isinstance(encoder, PairEncoder)
    vectors = train_word2vec(small, small.tokenizer, DIM, 3, 2, 0, pairs=5)
    alone = train(small)
    names = small.tokenizer.words
    pairs = [f"{names[one]} {names[other]}" for one, other in encoder.pairs]
    assert set(pairs) == frequent_pairs(small, small.tokenizer, 5)
    table = encoder.pair_embedding.table.weight
    assert np.array_equal(table[1:], vectors[pairs])
    assert not table[0].any()
    for word in names[4:]:
        assert np.array_equal(encoder.embedding.table.weight[names.index(word)], vectors[word])
    assert not np.array_equal(vectors[names[4]], alone[names[4]])  # the pairs are its neighbours
    with pytest.raises(ConfigError, match=r"encoder\.pairs is 0"):
        word2vec_encoder(small, dim=DIM, window=3, epochs=2, seed=0, pairs=0)
