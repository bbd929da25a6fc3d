from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elmo.data.text import WordTokenizer, clean
from elmo.errors import ConfigError
from elmo.inference import neighbours as neighbours_module
from elmo.inference.neighbours import BLOCK, Neighbour, NeighbourSearch, marked_word
from elmo.models.encoders import ElmoEncoder, Encoder
from elmo.models.static import StaticEncoder

TEXT, POSITION = "the bank raised its rates .", 1


def find_neighbours(
    encoder: Encoder, text: str, position: int, documents: Iterable[str], count: int
) -> list[list[Neighbour]]:
    search = NeighbourSearch(encoder, text, position, count)
    search.feed(documents)
    return search.best


def random_documents(count: int) -> list[str]:
    """Documents of 0 to 9 words, some unknown, some in capitals, some twice."""
    random = np.random.default_rng(0)
    words = np.array([*TEXT.split(), "river", "left", "!", "strange", "other", "Bank", "THE"])
    return [" ".join(random.choice(words, random.integers(10))) for _ in range(count)]


def unit(vectors: torch.Tensor) -> np.ndarray:
    array = vectors.double().numpy()
    return array / np.linalg.norm(array, axis=-1, keepdims=True)


def cosines_by_brute_force(encoder: Encoder, documents: list[str]) -> list[np.ndarray]:
    """The cosine of every word of every document with the query: one (L, T) a document."""
    query = unit(encoder.embed([TEXT])[0].vectors[:, POSITION])
    found = encoder.embed(documents)
    return [np.einsum("ltd,ld->lt", unit(one.vectors), query) for one in found]


def test_contextual_layers_equal_a_search_of_every_word(encoder: ElmoEncoder) -> None:
    documents = [*random_documents(BLOCK + 100), TEXT, TEXT.upper()]
    everything = cosines_by_brute_force(encoder, documents)
    result = find_neighbours(encoder, TEXT, POSITION, documents, 20)
    assert len(result) == 3
    for layer in (1, 2):
        expected = sorted(
            (
                cosines[layer].max()
                for text, cosines in zip(documents, everything, strict=True)
                if text and text.lower() != TEXT
            ),
            reverse=True,
        )
        found = result[layer]
        assert [one.cosine for one in found] == pytest.approx(expected[:20], abs=2e-5)
        assert len({one.document for one in found}) == 20
        for one in found:
            actual = everything[one.document][layer, one.position]
            assert one.cosine == pytest.approx(actual, abs=2e-5)
            assert one.tokens == documents[one.document].split()
            assert one.word == one.tokens[one.position]


def test_layer_zero_lists_each_other_word_once(encoder: ElmoEncoder) -> None:
    documents = random_documents(BLOCK + 100)
    everything = cosines_by_brute_force(encoder, documents)
    result = find_neighbours(encoder, TEXT, POSITION, documents, 100)[0]
    expected: dict[str, tuple[float, int]] = {}
    for number, (text, cosines) in enumerate(zip(documents, everything, strict=True)):
        for word, cosine in zip(text.lower().split(), cosines[0], strict=True):
            known = word if word in encoder.tokenizer.words else "<unk>"
            expected.setdefault(known, (cosine, number))
    assert expected.pop("bank")[0] == pytest.approx(1)
    assert sorted(one.word for one in result) == sorted(expected)
    for one in result:
        cosine, first = expected[one.word]
        assert one.cosine == pytest.approx(cosine, abs=2e-5)
        assert one.document == first
        assert documents[first].lower().split()[one.position] in (one.word, "strange", "other")
    few = find_neighbours(encoder, TEXT, POSITION, documents, 3)[0]
    assert few == result[:3]


def test_order_falls_and_ties_stand_in_the_order_of_the_documents(encoder: ElmoEncoder) -> None:
    again = "its river bank !"
    documents = random_documents(2 * BLOCK)
    for place in (BLOCK + 7, 3, BLOCK - 1):
        documents[place] = again
    result = find_neighbours(encoder, TEXT, POSITION, documents, len(documents))
    for found in result:
        ranks = [(-one.cosine, one.document) for one in found]
        assert ranks == sorted(ranks)
    for found in result[1:]:
        places = [one.document for one in found if " ".join(one.tokens) == again]
        assert places == [3, BLOCK - 1, BLOCK + 7]
    assert find_neighbours(encoder, TEXT, POSITION, iter(documents), len(documents)) == result


def test_the_same_context_has_cosine_one_and_the_sentence_itself_is_left_out(
    encoder: ElmoEncoder,
) -> None:
    """Two unknown words have one id, so that other sentences can have the very same vectors."""
    sentence = "The bank left its bank sadly"
    documents = [*random_documents(50), sentence, sentence.upper(), "The bank left its bank soon"]
    for position in (1, 4):
        for found in find_neighbours(encoder, sentence, position, documents, 5)[1:]:
            assert (found[0].document, found[0].position) == (52, position)
            assert found[0].cosine == 1
            assert found[1].cosine < 1
            assert not {50, 51} & {one.document for one in found}


def test_an_unknown_word_has_no_unknown_neighbour_in_layer_zero(encoder: ElmoEncoder) -> None:
    query = marked_word("the [strange] river", encoder.tokenizer)
    assert not query.known
    documents = ["another other", "strange rates", "the river", "its bank"]
    static, *contextual = find_neighbours(encoder, query.text, query.position, documents, 10)
    assert sorted(one.word for one in static) == ["bank", "its", "rates", "river", "the"]
    for found in contextual:
        assert {"another", "other"} & {one.word for one in found}


def test_a_static_encoder_has_one_list() -> None:
    torch.manual_seed(0)
    encoder = StaticEncoder(WordTokenizer.train([TEXT], 1, None), dim=5)
    (found,) = find_neighbours(encoder, TEXT, POSITION, [TEXT], 9)
    assert sorted(one.word for one in found) == sorted({"the", "raised", "its", "rates", "."})


def test_no_more_than_a_block_is_encoded_and_kept(
    encoder: ElmoEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours_module, "BLOCK", 4)
    search = NeighbourSearch(encoder, TEXT, POSITION, count=2)
    read = 0

    def documents() -> Any:
        nonlocal read
        for document in random_documents(50):
            assert read - search.documents < 4
            assert all(len(found) <= 2 for found in search.best)
            read += 1
            yield document

    search.feed(documents())
    assert search.documents == read == 50
    assert search.tokens == sum(len(text.split()) for text in random_documents(50))
    whole = NeighbourSearch(encoder, TEXT, POSITION, count=2)
    whole.feed(random_documents(50))
    for one, other in zip(search.best, whole.best, strict=True):
        assert [n.cosine for n in one] == pytest.approx([n.cosine for n in other], abs=2e-5)


@pytest.mark.parametrize(
    ("text", "position", "documents", "count", "message"),
    [
        (TEXT, 1, ["the bank"], 0, "count of neighbours is 0"),
        (TEXT, 6, ["the bank"], 1, "position is 6; .* has 6 tokens"),
        (TEXT, -1, ["the bank"], 1, "position is -1"),
        (" ", 0, ["the bank"], 1, "has 0 tokens"),
        (TEXT, 1, "the bank", 1, "documents is one string"),
    ],
)
def test_mistakes_of_a_caller(
    encoder: ElmoEncoder, text: str, position: int, documents: Any, count: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        find_neighbours(encoder, text, position, documents, count)


@pytest.mark.parametrize(
    ("sentence", "position", "word"),
    [
        ("the bank left its [bank] !", 4, "bank"),
        ("the [bank] left its bank !", 1, "bank"),
        ("[The] bank", 0, "The"),
        ("a\\line of the world #39;s [ bank ] ,", 6, "bank"),
        ("the world [#39;s] bank", 2, "'s"),
        ("&lt;b&gt;the&lt;/b&gt; [bank] &amp; more", 1, "bank"),
        ("it cost [3.5] $", 2, "3.5"),
        ("the [U.S.] bank", 1, "U.S."),
        ("the bank[.]", 2, "."),
    ],
)
def test_the_marked_word_is_found(
    encoder: ElmoEncoder, sentence: str, position: int, word: str
) -> None:
    query = marked_word(sentence, encoder.tokenizer)
    assert query.position == position
    assert query.tokens[position] == word
    assert query.text == clean(query.text)
    assert encoder.embed([query.text])[0].tokens == query.tokens
    assert query.known == (word.lower() in encoder.tokenizer.words)


PIECES = ["bank", "Bank", "the", "U.S.", "3.5", "'s", "--", "...", "$", "a1", "(", "\u00fcber"]


@settings(max_examples=50, deadline=None)
@given(words=st.lists(st.sampled_from(PIECES), min_size=1), data=st.data())
def test_the_marked_word_is_found_wherever_it_stands(words: list[str], data: st.DataObject) -> None:
    tokenizer = WordTokenizer.train(["the bank"], 1, None)
    position = data.draw(st.integers(0, len(words) - 1))
    marked = [*words[:position], f"[{words[position]}]", *words[position + 1 :]]
    query = marked_word(" ".join(marked), tokenizer)
    assert (query.tokens, query.position) == (words, position)


@pytest.mark.parametrize(
    ("sentence", "message"),
    [
        ("the bank", r"has 0 '\[' and 0 '\]'; expected one word in brackets"),
        ("the [bank] left its [bank]", r"has 2 '\[' and 2 '\]'"),
        ("the [[bank]]", r"has 2 '\[' and 2 '\]'"),
        ("the ]bank[", "expected one word in brackets"),
        ("the [bank", r"has 1 '\[' and 0 '\]'"),
        ("", r"has 0 '\['"),
        ("the [] bank", r"'\[\]' holds no token"),
        ("the [ ] bank", r"holds no token"),
        ("the [<b>] bank", "holds no token"),
        ("the [river bank] left", r"'\[river bank\]' holds 2 tokens \(river, bank\)"),
        ("the bank rais[ed] its", r"'\[ed\]' cut a token in two: .* 'the bank raised its'"),
        ("it cost [3].5 $", "cut a token in two"),
        ("the [U.S].", "holds 3 tokens"),
        ("the [U.]S.", "cut a token in two|holds 2 tokens"),
    ],
)
def test_a_badly_marked_word(encoder: ElmoEncoder, sentence: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        marked_word(sentence, encoder.tokenizer)
    assert "\n" not in str(caught.value)
