"""Spellings: each distinct word once, the same from memory, from disk and from a stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.test_files import text_files
from data.test_streaming import take
from elmo.data.batches import Batch, text_batches
from elmo.data.characters import Lexicon, character_ids, spellings_of
from elmo.data.corpora.toy import ToyNews
from elmo.data.language_model_data import LanguageModelData
from elmo.data.streaming import StreamLoader
from elmo.data.text import UNK, WordTokenizer
from elmo.data.tokens import TokenizedSplit
from elmo.modules.bilm import BiLM

MARKS = {"<S>": 256, "</S>": 257}
TEXTS = ["The bank raised its RATES.", "", "naïve cafés, 東京 and the ﬁ", "the " * 30]


def tokenizer_of(max_characters: int | None = 12) -> WordTokenizer:
    tokenizer = WordTokenizer.train(["the bank raised its rates", "the bank"], 2, None)
    return WordTokenizer(tokenizer.json, max_characters)


def spelled(batch: Batch) -> list[list[list[int]]]:
    """The characters of each token of each document, without padding."""
    assert batch.spellings is not None
    characters, places, _ = batch.spellings
    return [
        characters[places[row, :length]].tolist()
        for row, length in enumerate(batch.lengths.tolist())
    ]


def written(words: list[str], longest: int = 12) -> list[list[int]]:
    return [character_ids(word, longest).tolist() for word in ("<S>", *words, "</S>")]


@given(st.one_of(st.text(), st.sampled_from(["<S>", "</S>", "<s>"])), st.integers(3, 70))
def test_character_ids_are_the_bytes_between_marks(word: str, longest: int) -> None:
    ids = character_ids(word, longest)
    assert ids.dtype == np.int16
    assert ids.shape == (longest,)
    content = bytes(word, "utf-8", "ignore")[: longest - 2]
    inner = [MARKS[word]] if word in MARKS else list(content)
    assert (ids - 1).tolist() == [258, *inner, 259] + [260] * (longest - 2 - len(inner))


def test_a_word_is_cut_between_bytes() -> None:
    ids = character_ids("日本", 7)  # three bytes each
    assert ids.tolist() == [259, *(byte + 1 for byte in "日本".encode()[:5]), 260]


@given(st.lists(st.lists(st.sampled_from(["a", "b", "A", "<S>", "</S>", "é"])), max_size=4))
def test_a_lexicon_numbers_each_word_once(documents: list[list[str]]) -> None:
    lexicon = Lexicon(9)
    numbers = [lexicon.spell(words) for words in documents]
    characters = lexicon.characters()
    assert not characters[0].any()
    assert len(characters) == 1 + len({"<S>", "</S>", *(w for words in documents for w in words)})
    for words, row in zip(documents, numbers, strict=True):
        assert characters[row].tolist() == written(words, 9)


def test_spellings_of_a_batch_hold_its_words_alone() -> None:
    lexicon = Lexicon(6)
    one, other = lexicon.spell(["a", "b", "a"]), lexicon.spell(["c"])
    numbers = torch.zeros(2, 5, dtype=torch.long)
    numbers[0], numbers[1, :3] = torch.from_numpy(one), torch.from_numpy(other)
    characters, places, _ = spellings_of(numbers, lexicon.characters())
    assert len(characters) == 6  # padding, both marks, three words
    assert torch.equal(characters[places], torch.from_numpy(lexicon.characters()[numbers]).long())
    first = spellings_of(numbers[:1], lexicon.characters()).characters
    assert len(first) == 4  # no padding, and no "c"


@pytest.mark.parametrize("budget", [1, 40, None])
def test_batches_of_texts_have_the_spellings_of_their_words(budget: int | None) -> None:
    words = [["The", "bank", "raised", "its", "RATES", "."], ["ﬁ", "</S>"]]
    seen = 0
    for documents, batch in text_batches([*TEXTS, *words], tokenizer_of(), budget):
        for document, spelling in zip(documents, spelled(batch), strict=True):
            assert spelling == written(document.words)
            seen += 1
        assert not batch.spellings.characters[batch.spellings.places[~batch.mask]].any()  # type: ignore[union-attr]
    assert seen == 6


def test_without_characters_there_are_no_spellings() -> None:
    with_, without = (
        [batch for _, batch in text_batches(TEXTS, tokenizer_of(longest), 40)]
        for longest in (12, None)
    )
    assert all(batch.spellings is None for batch in without)
    for one, other in zip(with_, without, strict=True):
        assert torch.equal(one.tokens, other.tokens)
        assert torch.equal(one.row, other.row)


@pytest.mark.parametrize("max_tokens", [3, 6, 1000])
def test_a_split_on_disk_has_the_spellings_of_its_words(max_tokens: int, tmp_path: Path) -> None:
    """Those of a truncated document end with that of </s>."""
    tokenizer = tokenizer_of()
    TokenizedSplit.build(tmp_path, iter(TEXTS), np.zeros(4), tokenizer, max_tokens)
    split = TokenizedSplit(tmp_path)
    assert isinstance(split.spellings, np.memmap)
    assert isinstance(split.characters, np.memmap)
    rows = [2, 0, 3, 1]
    batch = split.__getitems__(rows)
    documents = tokenizer.encode(TEXTS)
    for row, spelling in zip(rows, spelled(batch), strict=True):
        assert spelling == written(documents[row].words[: max_tokens - 2])
    TokenizedSplit.build(tmp_path, iter(TEXTS), np.zeros(4), tokenizer_of(None), max_tokens)
    assert torch.equal(TokenizedSplit(tmp_path).__getitems__(rows).tokens, batch.tokens)


def test_unknown_words_keep_their_spelling(tmp_path: Path) -> None:
    (_, batch), *_ = text_batches([["qqq", "zzz"]], tokenizer_of(), None)
    assert batch.tokens[0, 1:3].tolist() == [UNK, UNK]
    assert spelled(batch)[0] == written(["qqq", "zzz"])


def test_another_length_of_words_is_another_split_in_the_cache(toy: ToyNews) -> None:
    def data_of(longest: int | None) -> LanguageModelData:
        return LanguageModelData(
            corpus=toy, token_budget=512, num_workers=0, seed=0, evaluation_rows=100,
            max_characters=longest,
        )  # fmt: skip

    plain, short, long = (next(iter(data_of(n).val_dataloader())) for n in (None, 8, 30))
    assert plain.spellings is None
    for batch, longest in ((short, 8), (long, 30)):
        assert batch.spellings is not None
        assert batch.spellings.characters.shape[1] == longest
        assert torch.equal(batch.tokens, plain.tokens)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_stream_has_the_spellings_of_the_stored_split(workers: int, tmp_path: Path) -> None:
    lines = [f"Wörd{number} " + "X y " * (number % 9) for number in range(300)]
    (tmp_path / "a.txt").write_text("\n".join(lines))

    def data_of(**settings: Any) -> LanguageModelData:
        corpus = text_files(tmp_path, files=[str(tmp_path / "a.txt")], **settings.pop("corpus"))
        shared = {"token_budget": 64, "num_workers": workers, "seed": 0, "evaluation_rows": 10}
        return LanguageModelData(
            corpus=corpus, max_tokens=9, max_characters=7, **shared, **settings
        )

    streamed = {"streaming": True, "sample_documents": 600}
    data = data_of(corpus=streamed, epoch_batches=20, buffer_documents=50)
    loader = data.train_dataloader()
    assert isinstance(loader, StreamLoader)
    found = [document for batch in take(loader, 40) for document in spelled(batch)]
    stored = data_of(corpus={}).splits
    known = {
        str(document)
        for split in stored.values()
        for document in spelled(split.__getitems__(list(range(len(split)))))
    }
    assert len(found) > 200
    unheard = sum(str(document) not in known for document in found)
    assert unheard == 0
    for document in found:
        assert document[0] == character_ids("<S>", 7).tolist()
        assert document[-1] == character_ids("</S>", 7).tolist()

    state = loader.state_dict()
    again = data_of(corpus=streamed, epoch_batches=20, buffer_documents=50).train_dataloader()
    assert isinstance(again, StreamLoader)
    again.load_state_dict(state)
    rest, expected = take(again, 30), take(loader, 30)
    for one, other in zip(rest, expected, strict=True):
        assert spelled(one) == spelled(other)


@pytest.mark.parametrize("cell_dim", [None, 12])
@pytest.mark.parametrize("position", range(1, 5))
def test_no_direction_sees_the_spelling_of_its_future(position: int, cell_dim: int | None) -> None:
    """Another word at t leaves every forward state before and every backward state after it."""
    torch.manual_seed(0)
    characters = {"char_dim": 3, "filters": [[1, 4], [2, 4]], "max_characters": 12}
    bilm = BiLM(5, 8, 8, num_layers=3, characters=characters, cell_dim=cell_dim).eval()
    words = ["the", "bank", "raised", "rates"]
    other = [*words[: position - 1], "Zzyzx", *words[position:]]
    ((_, batch),) = text_batches([words, other, ["a"]], tokenizer_of(), None)
    layers = bilm(batch.tokens, batch.lengths, batch.spellings)[:, :2]  # (L, 2, T, D)
    (forward, new_forward), (backward, new_backward) = (
        half.unbind(1) for half in layers.chunk(2, -1)
    )
    assert torch.equal(forward[:, :position], new_forward[:, :position])
    assert torch.equal(backward[:, position + 1 :], new_backward[:, position + 1 :])
    # Without a change elsewhere the test could not fail.
    assert (forward[1:, position:] != new_forward[1:, position:]).any(-1).all()
    assert (backward[1:, : position + 1] != new_backward[1:, : position + 1]).any(-1).all()
