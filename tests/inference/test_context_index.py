from __future__ import annotations

import pytest
import torch

from elmo.data.corpora.toy import ToyNews
from elmo.data.corpus import texts_of
from elmo.data.text import WordTokenizer
from elmo.inference.context_index import ContextIndex
from elmo.inference.neighbours import NeighbourSearch, feed_searches
from elmo.inference.occurrences import principal_plane
from elmo.models.encoders import ElmoEncoder
from elmo.modules.bilm import BiLM

SENTENCE = "The pitch sent the ball to the bank."


@pytest.fixture(scope="module")
def encoder(toy: ToyNews) -> ElmoEncoder:
    """Untrained, with the vocabulary of the documents, drawn wide enough for contexts to matter."""
    torch.manual_seed(0)
    tokenizer = WordTokenizer.train(list(texts_of(toy.splits["train"]))[:600], 1, None)
    encoder = ElmoEncoder(tokenizer, BiLM(len(tokenizer), 6, 8))
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter)
    return encoder


@pytest.fixture(scope="module")
def documents(toy: ToyNews) -> list[str]:
    texts = list(texts_of(toy.splits["train"]))[:600]
    return [SENTENCE.upper(), "", *texts, texts[3], "  "]  # the sentence itself, a repeated one


@pytest.mark.parametrize("position", [1, 5, 7, 8])
def test_a_search_finds_what_feeding_the_documents_finds(
    position: int, encoder: ElmoEncoder, documents: list[str]
) -> None:
    fed, indexed = (NeighbourSearch(encoder, SENTENCE, position, 7) for _ in range(2))
    feed_searches([fed], documents)
    index = ContextIndex(encoder, documents, max_words=10**9)
    index.search(indexed)
    assert index.is_complete
    assert [len(best) for best in indexed.best] == [7, 7, 7]
    for expected, found in zip(fed.best, indexed.best, strict=True):
        for one, other in zip(expected, found, strict=True):
            assert other.cosine == pytest.approx(one.cosine, abs=2e-5)
            assert (other.word, other.position, other.tokens) == (
                one.word,
                one.position,
                one.tokens,
            )
            assert index.rows[other.document] == one.document


def test_reading_ends_after_enough_words(encoder: ElmoEncoder, documents: list[str]) -> None:
    index = ContextIndex(encoder, documents, max_words=100)
    assert not index.is_complete
    assert index.rows == [0, *range(2, 256)]  # one block; the empty document has no words
    assert index.unit.shape[1] == sum(map(len, index.tokens)) >= 100


def test_occurrences_are_the_first_of_each_document(encoder: ElmoEncoder) -> None:
    index = ContextIndex(encoder, ["A bank, a Bank", "none", "the BANK"], 100)
    places = index.occurrences("bank")
    assert places.tolist() == [1, 7]
    assert [index.document[place] for place in places] == [0, 2]
    assert index.occurrences("zebra").tolist() == []


def test_nothing_is_found_in_nothing(encoder: ElmoEncoder) -> None:
    search = NeighbourSearch(encoder, SENTENCE, 1, 3)
    for texts in ([], [SENTENCE]):
        index = ContextIndex(encoder, texts, 100)
        index.search(search)
        assert search.best[1:] == [[], []]


def test_the_plane_keeps_the_distances_of_points_on_a_plane() -> None:
    torch.manual_seed(0)
    flat = torch.randn(2, 9, 2) @ torch.linalg.qr(torch.randn(5, 2)).Q.T + 3
    places, share = principal_plane(flat)
    assert torch.cdist(places, places).allclose(torch.cdist(flat, flat), atol=1e-4)
    assert share.sum(1).tolist() == pytest.approx([1, 1])
    assert (share[:, 0] >= share[:, 1]).all()
    largest = places.gather(1, places.abs().argmax(1, keepdim=True))
    assert (largest > 0).all()  # whatever the sign of a component
    mirrored, _ = principal_plane(-flat)
    assert mirrored.abs().allclose(places.abs(), atol=1e-4)


def test_equal_vectors_lie_in_one_place() -> None:
    equal = torch.randn(3, 1, 64).expand(3, 50, 64).clone()
    places, share = principal_plane(equal)
    assert places.abs().max() == share.max() == 0


@pytest.mark.parametrize("count", [1, 2])
def test_few_points_lie_on_a_line(count: int) -> None:
    places, share = principal_plane(torch.randn(3, count, 4))
    assert places.shape == (3, count, 2)
    assert places.isfinite().all()
    assert share[:, 1].abs().max() < 1e-6
