from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from elmo.commands import senses
from elmo.data.batches import Batch
from elmo.data.corpora.toy import ToyNews
from elmo.data.corpus import column, texts_of
from elmo.errors import ConfigError
from elmo.inference.senses import study_senses
from elmo.models.static import StaticEncoder
from elmo.runs.latest import latest_run
from inference.test_neighbours import find_neighbours
from small_corpora import toy_news

WORDS = ("bank", "pitch", "star", "nosuchword")


@pytest.fixture(scope="module")
def corpus(cache_dir: Path) -> ToyNews:
    """Validation rows enough for ambiguous words."""
    return toy_news(cache_dir, rows=2000, validation_size=1500)


class Telling(StaticEncoder):
    """Layer 0 is static; layer 1 tells the class of the document, layer 2 is noise."""

    num_layers = 3

    def __init__(self, corpus: ToyNews) -> None:
        super().__init__(corpus.tokenizer, 8)
        torch.manual_seed(0)
        torch.nn.init.normal_(self.embedding.table.weight)
        rows = corpus.splits["validation"]
        self.labels = {
            tuple(document.ids.tolist()): label
            for document, label in zip(
                self.tokenizer.encode(list(texts_of(rows))),
                column(rows, "label").tolist(),
                strict=True,
            )
        }

    def forward(self, batch: Batch) -> Tensor:
        static = super().forward(batch)  # (1, B, T, D)
        labels = [
            self.labels[tuple(ids[:length].tolist())]
            for ids, length in zip(batch.tokens, batch.lengths, strict=True)
        ]
        classes = functional.one_hot(torch.tensor(labels), 8).float()  # (B, D)
        # A little of each document, so that no two are equally near.
        own = torch.randn(classes.shape, generator=torch.Generator().manual_seed(1))
        told, noise = (
            layer[:, None].expand(static.shape[1:]) for layer in (classes + 0.01 * own, own)
        )
        return torch.cat([static, told[None], noise[None]])


def test_agreement_is_chance_for_static_vectors_and_one_where_the_class_is_told(
    corpus: ToyNews,
) -> None:
    found = study_senses(Telling(corpus), corpus, WORDS, count=2)
    static, told, noise = found.agreement
    assert static == pytest.approx(found.chance)
    assert 0.98 < told <= 1  # an occurrence that is the only one of its class has no equal
    assert abs(noise - found.chance) < 0.25
    assert set(found.words) == {"bank", "pitch", "star"}


def test_chance_and_occurrences_against_a_count_by_hand(corpus: ToyNews) -> None:
    found = study_senses(Telling(corpus), corpus, ["bank"], count=1)
    rows = corpus.splits["validation"]
    labels = [
        label
        for text, label in zip(rows["text"], rows["label"], strict=True)
        if "bank" in [word.lower() for word in corpus.tokenizer.encode([text])[0].words]
    ]
    assert found.words == {"bank": len(labels)}
    pairs = [(i, j) for i in range(len(labels)) for j in range(len(labels)) if i != j]
    same = sum(labels[i] == labels[j] for i, j in pairs) / len(pairs)
    assert found.chance == pytest.approx(same)


def test_neighbours_are_those_of_the_search_for_one_word(corpus: ToyNews) -> None:
    encoder = Telling(corpus)
    found = study_senses(encoder, corpus, ["pitch"], count=3)
    rows = corpus.splits["validation"]
    texts = dict(zip(rows["row"], rows["text"], strict=True))
    assert len({query["class"] for query in found.queries}) == 2
    for query in found.queries:
        words = corpus.tokenizer.encode([texts[query["row"]]])[0].words
        position = [word.lower() for word in words].index("pitch")
        alone = find_neighbours(encoder, texts[query["row"]], position, rows["text"], count=3)
        for layer, (best, expected) in enumerate(zip(query["neighbours"], alone, strict=True)):
            assert [one["word"] for one in best] == [one.word for one in expected]
            if layer:
                numbers = [rows["row"][one.document] for one in expected]
                assert [one["row"] for one in best] == numbers
            else:
                assert {one["row"] for one in best} == {None}


def test_words_that_are_nowhere_are_refused(corpus: ToyNews) -> None:
    with pytest.raises(ConfigError, match="none of nosuchword occurs in 2 validation"):
        study_senses(Telling(corpus), corpus, ["nosuchword"], count=1)


def test_the_command_leaves_numbers_and_no_text(
    pretrained: Path, classified: Path, cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = pretrained / "found.json"
    places = ["--output-dir", str(pretrained), "--cache-dir", str(cache_dir), "--device", "cpu"]
    senses.main([*places, "--words", "the,after,nosuchword", "-o", str(out), "--count", "2"])
    printed = capsys.readouterr()
    assert "nosuchword" in printed.err
    assert "same class" in printed.out
    record = json.loads(out.read_text())
    study_of = record["encoders"]["elmo"]
    assert len(study_of["agreement"]) == 3
    assert study_of["agreement"][0] == pytest.approx(study_of["chance"])
    for query in study_of["queries"]:
        for one in chain(*query["neighbours"]):
            assert set(one) == {"word", "cosine", "row", "class"}
            assert " " not in one["word"]
    assert latest_run(pretrained, "toy").is_dir()
    assert not (latest_run(pretrained, "toy") / "neighbours.json").exists()
