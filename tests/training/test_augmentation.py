"""Copies of train rows: what may change in them, and that training alone reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import TINY_CLS, Script
from elmo.data.characters import character_ids
from elmo.data.classification_data import ClassificationData
from elmo.data.corpora.toy import ToyNews
from elmo.data.corpus import column
from elmo.data.text import SPECIAL_TOKENS, WordTokenizer
from elmo.data.tokens import TokenizedSplit
from elmo.errors import ConfigError
from elmo.models.encoders import ElmoEncoder
from elmo.models.language_model import LanguageModel
from elmo.models.loading import pretrained_elmo
from elmo.models.static import StaticEncoder
from elmo.modules.bilm import BiLM
from elmo.modules.softmax import FullSoftmax
from elmo.runs.latest import latest_run
from elmo.runs.record import read_record
from elmo.training import augmentation
from elmo.training.augmentation import predicted_copies
from elmo.training.layer_store import DiskStore

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder(toy: ToyNews, pretrained: Path) -> ElmoEncoder:
    return pretrained_elmo(toy, str(latest_run(pretrained, "toy")), "outputs")


def new_data(toy: ToyNews, tokenizer: WordTokenizer, **settings: Any) -> ClassificationData:
    arguments = {"token_budget": 1024, "num_workers": 0, "seed": 0, **settings}
    return ClassificationData(corpus=toy, tokenizer=tokenizer, **arguments)


def augmented(
    toy: ToyNews, encoder: ElmoEncoder, copies: int = 2, share: float = 0.3, **settings: Any
) -> ClassificationData:
    data = new_data(toy, encoder.tokenizer, **settings)
    data.copies = predicted_copies(data, encoder, CPU, copies, share)
    return data


def copies_of(data: ClassificationData) -> TokenizedSplit:
    assert data.copies is not None
    return data.copies.documents


def test_only_words_change_and_never_to_a_special_token(toy: ToyNews, encoder: ElmoEncoder) -> None:
    data = augmented(toy, encoder, label_share=0.5)
    train, copies, rows = data.splits["train"], copies_of(data), data.labelled_rows
    assert len(copies) == 2 * len(rows) < 2 * len(train)
    replaced = words = 0
    for number in range(len(copies)):
        original, copy = train.ids(rows[number % len(rows)]), copies.ids(number)
        assert len(original) == len(copy)
        changed = original != copy
        assert not changed[[0, -1]].any()
        assert (copy[changed] >= len(SPECIAL_TOKENS)).all()
        replaced += changed.sum()
        words += len(copy) - 2
    assert data.facts["augmentation"] == {"copies": 2, "share": 0.3, "replaced_words": replaced}
    assert 0.1 * words < replaced < 0.33 * words  # where the old word was drawn nothing changes
    first, second = (copies.tokens.reshape(2, -1)[copy] for copy in range(2))
    assert (first != second).any()


def test_all_words_can_be_drawn_anew(toy: ToyNews, encoder: ElmoEncoder) -> None:
    few = augmented(toy, encoder, copies=1, share=0.01)
    many = augmented(toy, encoder, copies=1, share=1.0)
    counts = [data.facts["augmentation"]["replaced_words"] for data in (few, many)]
    assert 0 < 20 * counts[0] < counts[1]


def test_copies_follow_the_seed_and_are_made_once(
    toy: ToyNews, encoder: ElmoEncoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = augmented(toy, encoder)
    other = augmented(toy, encoder, seed=1)
    assert (copies_of(first).tokens != copies_of(other).tokens).any()
    with monkeypatch.context() as patch:
        patch.setattr(toy, "cache_dir", tmp_path)  # an empty cache
        again = augmented(toy, encoder)
        assert np.array_equal(copies_of(first).tokens, copies_of(again).tokens)
    monkeypatch.setattr(augmentation, "_build", None)  # would fail
    augmented(toy, encoder)


def test_training_reads_copies_with_the_row_and_label_of_their_original(
    toy: ToyNews, encoder: ElmoEncoder
) -> None:
    data = augmented(toy, encoder, label_share=0.5)
    train, rows = data.splits["train"], data.labelled_rows
    labels = column(toy.splits["train"], "label")
    seen = []
    for batch in data.train_dataloader():
        seen += batch.row.tolist()
        assert batch.label.tolist() == labels[batch.row].tolist()
        for row, length, tokens in zip(batch.row, batch.lengths, batch.tokens, strict=True):
            original = torch.from_numpy(train.ids(int(row)).astype(np.int64))
            assert length == len(original)
            assert (tokens[:length] == original).float().mean() > 0.2
    assert sorted(seen) == sorted([*rows.tolist()] * 3)


def test_evaluation_and_facts_are_of_the_originals(toy: ToyNews, encoder: ElmoEncoder) -> None:
    plain, data = new_data(toy, encoder.tokenizer), augmented(toy, encoder)
    facts = {key: value for key, value in data.facts.items() if key != "augmentation"}
    assert facts == plain.facts
    for split in ("train", "validation", "test"):
        batches = zip(plain.evaluation_loader(split), data.evaluation_loader(split), strict=True)
        assert all(torch.equal(one.tokens, other.tokens) for one, other in batches)


def test_the_store_has_the_layers_of_the_copies_beside_those_of_the_rows(
    toy: ToyNews, encoder: ElmoEncoder, tmp_path: Path
) -> None:
    store = DiskStore(str(tmp_path), 1)
    store.attach(encoder, new_data(toy, encoder.tokenizer), CPU)
    of_rows = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    data = augmented(toy, encoder)
    store.attach(encoder, data, CPU)
    store.attach(encoder, augmented(toy, encoder, share=0.2), CPU)
    names = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert of_rows < names
    assert len(names) == len(of_rows) + 2
    for batch in data.train_dataloader():
        assert batch.layers.shape[1:3] == batch.tokens.shape
        exact = encoder(batch._replace(layers=None))
        torch.testing.assert_close(
            encoder(batch)[:, batch.mask], exact[:, batch.mask], rtol=2**-10, atol=1e-5
        )


def test_a_model_of_characters_reads_the_spelling_of_the_new_words(
    toy: ToyNews, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    tokenizer = WordTokenizer(toy.tokenizer.json, 20)
    characters = {"char_dim": 4, "filters": [[1, 4], [2, 8]], "max_characters": 20}
    bilm = BiLM(len(tokenizer), embedding_dim=6, hidden_dim=8, characters=characters)
    model = LanguageModel(bilm, FullSoftmax(8, len(tokenizer)), tokenizer).eval()
    monkeypatch.setattr(augmentation, "load_language_model", lambda _: model)
    data = new_data(toy, tokenizer)
    data.copies = predicted_copies(data, model.encoder(), CPU, 1, 0.3, "named")
    changed = 0
    for batch in data.train_dataloader():
        assert batch.spellings is not None
        spelled = batch.spellings.characters[batch.spellings.places]  # (B, T, C)
        for index, row in enumerate(batch.row.tolist()):
            old = torch.from_numpy(data.splits["train"].ids(row).astype(np.int64))
            new = batch.tokens[index, : len(old)]
            for place in (old != new).nonzero().flatten().tolist():
                expected = character_ids(tokenizer.words[int(new[place])], 20)
                assert spelled[index, place].tolist() == expected.tolist()
                changed += 1
    assert changed == data.copies.facts["replaced_words"] > 0


def test_settings_that_cannot_be_are_refused(toy: ToyNews, encoder: ElmoEncoder) -> None:
    data = new_data(toy, encoder.tokenizer)
    for copies, share, message in (
        (0, 0.1, r"augmentation\.copies is 0"),
        (1, 0.0, r"augmentation\.share is 0"),
        (1, 1.5, r"augmentation\.share is 1\.5"),
    ):
        with pytest.raises(ConfigError, match=message):
            predicted_copies(data, encoder, CPU, copies, share)
    static = StaticEncoder(encoder.tokenizer, 8)
    with pytest.raises(ConfigError, match=r"with augmentation\.bilm_path"):
        predicted_copies(data, static, CPU, 1, 0.1)
    named = predicted_copies(data, static, CPU, 1, 0.1, str(encoder.bilm_path))
    assert named.key == predicted_copies(data, encoder, CPU, 1, 0.1).key
    other = WordTokenizer.train(["a few other words"], min_count=1, max_size=None)
    with pytest.raises(ConfigError, match="another vocabulary"):
        predicted_copies(new_data(toy, other), encoder, CPU, 1, 0.1)


def test_a_run_trains_on_copies_and_records_them(
    script: Script, pretrained: Path, tmp_path: Path
) -> None:
    bilm = f"bilm_path={latest_run(pretrained, 'toy')}"
    script("train_cls", *TINY_CLS, bilm, "augmentation=predictions", output_dir=tmp_path)
    record = read_record(latest_run(tmp_path, "toy", "classifier"))
    found = record["data"]["augmentation"]
    assert (found["copies"], found["share"]) == (1, 0.15)
    assert found["replaced_words"] > 0
    static = ("encoder=svd", "encoder.dim=8", "augmentation=predictions")
    done = script("train_cls", *TINY_CLS, *static, output_dir=tmp_path / "static", code=1)
    assert "name a bilstm.pt" in done.stderr
