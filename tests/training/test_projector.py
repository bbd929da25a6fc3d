from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from elmo.data.corpora.toy import ToyNews
from elmo.inference.senses import AMBIGUOUS_WORDS
from elmo.models.encoders import ElmoEncoder
from elmo.modules.bilm import BiLM
from elmo.training.projector import OCCURRENCES, write_projector


@pytest.fixture(scope="module")
def toy_encoder(toy: ToyNews) -> ElmoEncoder:
    torch.manual_seed(0)
    return ElmoEncoder(toy.tokenizer, BiLM(len(toy.tokenizer), embedding_dim=6, hidden_dim=8))


def test_what_tensorboard_reads(toy: ToyNews, toy_encoder: ElmoEncoder, tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path, name="", version="")
    count = write_projector(toy_encoder, toy, logger)
    rows = {str(row["row"]): row for row in toy.splits["validation"]}
    assert count > 50
    config = (tmp_path / "projector_config.pbtxt").read_text()
    for layer in range(3):
        assert f"layer_{layer}" in config
        (folder,) = tmp_path.glob(f"*/layer_{layer}")
        with (folder / "metadata.tsv").open() as handle:
            header, *lines = csv.reader(handle, delimiter="\t")
        assert header == ["word", "class", "row", "context", "nearest"]
        words = Counter(line[0] for line in lines)
        assert set(words) <= AMBIGUOUS_WORDS
        assert len(words) > 10
        assert max(words.values()) <= OCCURRENCES
        numbers = (folder / "tensors.tsv").read_text().splitlines()
        found = torch.tensor([[float(n) for n in line.split("\t")] for line in numbers])
        assert len(found) == len(lines) == count
        for (word, label, number, context, _), vector in list(zip(lines, found, strict=True))[::20]:
            row = rows[number]
            assert label == toy.class_names[row["label"]]
            ((tokens, vectors),) = toy_encoder.embed([row["text"]])
            place = [token.lower() for token in tokens].index(word)
            assert f"[{tokens[place]}]" in context
            torch.testing.assert_close(vector, vectors[layer, place], atol=6e-5, rtol=0)


def test_no_text_of_a_corpus_that_is_not_ours(
    toy: ToyNews, toy_encoder: ElmoEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ToyNews, "redistributable", False)
    logger = TensorBoardLogger(tmp_path, name="", version="")
    assert write_projector(toy_encoder, toy, logger) > 0
    words = set(toy.tokenizer.words[4:])
    for file in tmp_path.glob("*/*/metadata.tsv"):
        with file.open() as handle:
            lines = list(csv.reader(handle, delimiter="\t"))[1:]
        assert {line[3] for line in lines} == {""}
        seen = {word for line in lines for word in line[4].replace(";", " ").split()}
        assert seen & words <= AMBIGUOUS_WORDS | {"sports", "business", "world"}


def test_a_corpus_without_these_words(
    toy: ToyNews, toy_encoder: ElmoEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elmo.training.projector.AMBIGUOUS_WORDS", {"zyzzyva"})
    assert write_projector(toy_encoder, toy, TensorBoardLogger(tmp_path)) == 0
