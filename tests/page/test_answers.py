"""What the tabs answer, asked without a browser."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from dash.development.base_component import Component

from elmo.inference.explanation import explain, explain_side_by_side
from elmo.inference.neighbours import Neighbour, NeighbourSearch
from elmo.inference.word_predictions import predict_words
from elmo.models.generation import generate, join_words
from elmo.page import classify, language_model, layers, run_charts
from elmo.page import runs as runs_tab
from elmo.page.found_runs import confusion, find_runs, key_of, table
from elmo.page.models import Models
from page.conftest import TEXT


def said(children: Any) -> str:
    """All text of an answer, in reading order."""
    if isinstance(children, Component):
        return said(getattr(children, "children", None))
    if isinstance(children, list | tuple):
        return " ".join(filter(None, map(said, children)))
    return "" if children is None else str(children)


def keys(runs: Path, *names: str) -> list[str]:
    return [str(runs / name) for name in names]


def test_classify_says_what_predict_says(models: Models, runs: Path) -> None:
    chosen = keys(runs, "learned", "trainable", "word2vec")
    text = said(classify.answer(models, TEXT, chosen))
    for key in chosen:
        (label, probabilities), lambdas, words = explain(models.classifier(key), TEXT)
        for value in [*probabilities.values(), *(lambdas if len(lambdas) > 1 else [])]:
            assert f"{value:.3f}" in text
        assert all(f"{effect:+.2f}" in text for _, effect in words if abs(effect) >= 0.005)
        assert label in text
    labels = [models.classifier(key).predict([TEXT])[0].label for key in chosen]
    assert ("They disagree" in text) == (len(set(labels)) > 1)
    assert "mean weight of each layer" in text  # of the gate
    assert "lambdas" in text  # of the other mode


def test_those_that_differ_from_the_most_are_marked(
    models: Models, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    word2vec = models.classifier(str(runs / "word2vec"))
    learned, trainable = (models.classifier(str(runs / n)) for n in ("learned", "trainable"))
    for model, favourite in ((learned, 1), (trainable, 1), (word2vec, 2)):
        monkeypatch.setattr(
            model, "scores", lambda layers, mask, f=favourite: _favours(len(mask), f)
        )
    answer = said(classify.answer(models, TEXT, keys(runs, "learned", "trainable", "word2vec")))
    assert answer.count("differs") == 1
    assert answer.index("Word2Vec") < answer.index("differs")
    assert "They disagree: 2 say Sports, 1 say Business." in " ".join(answer.split())


def _favours(count: int, favourite: int) -> Any:
    import torch

    logits = torch.zeros(count, 4)
    logits[:, favourite] = 3
    return logits


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("", "the sentence has no words"),
        (None, "the sentence has no words"),
        (" \n\t ", "the sentence has no words"),
        ("word " * 100_000, "500,000 characters; the page takes 20,000"),
        (". " * 300, "300 words; the page takes 200"),
        ("half \ud800 a pair", "surrogate"),
    ],
)
def test_a_text_that_cannot_be_used_is_refused_in_one_line(
    text: str | None, answer: str, models: Models, runs: Path
) -> None:
    for children in (
        classify.answer(models, text, keys(runs, "learned")),
        language_model.surprise(models, str(runs / "lm"), text, "mean"),
        layers.answer(models, str(runs / "lm"), "bank", text, TEXT),
    ):
        assert isinstance(children, Component)
        assert getattr(children, "role", None) == "alert"
        assert answer in said(children).replace("sentence A", "the sentence")
    assert language_model.at_gap(models, str(runs / "lm"), text, 0) == []


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script> & <b>bold</b>", "😀 👩‍👩‍👧 نص 漢字", "[bank]"]
)
def test_markup_and_emoji_are_words(text: str, models: Models, runs: Path) -> None:
    for children in (
        classify.answer(models, text, keys(runs, "learned", "word2vec")),
        language_model.surprise(models, str(runs / "lm"), text, "forward"),
    ):
        assert isinstance(children, list)  # no notice
    plot = json.dumps(layers._wrapped(text))
    assert "<script" not in plot
    assert "<b>" not in plot


def test_no_classifier_is_a_line(models: Models, runs: Path) -> None:
    assert "choose one classifier or more" in said(classify.answer(models, TEXT, []))
    assert "no such file" in said(classify.answer(models, TEXT, keys(runs, "missing")))


def test_layers_name_neighbours_and_the_cosine(models: Models, runs: Path) -> None:
    key = str(runs / "lm")
    same = said(layers.answer(models, key, "bank", TEXT, TEXT))
    assert same.count("1.0000") == 3  # the same word in the same sentence, in three layers
    other = said(layers.answer(models, key, "bank", TEXT, "Voters crossed the bank of the river."))
    assert other.count("1.0000") == 1  # layer 0 alone
    search = NeighbourSearch(models.encoder(key), TEXT, 1, layers.COUNT)
    models.index(key).search(search)
    for near in (neighbour for best in search.best for neighbour in best):
        assert near.word in same
        assert f" {near.cosine:.2f}" in same
    assert all(len(best) == layers.COUNT for best in search.best)
    assert "Occurrences of “bank”" in other
    assert "documents of the toy corpus" in other
    marked = said(layers.answer(models, key, "bank", "[The] bank", TEXT))
    assert "How alike “The” of sentence A and “bank” of sentence B" in marked


@pytest.mark.parametrize(
    ("word", "first", "line"),
    [
        ("river", TEXT, "sentence A has no word 'river'"),
        ("", TEXT, "type the word"),
        ("bank", "The [bank] [raised]", "one word in brackets"),
    ],
)
def test_a_word_that_is_not_there_is_a_line(
    word: str, first: str, line: str, models: Models, runs: Path
) -> None:
    children = layers.answer(models, str(runs / "lm"), word, first, "A river and a bank")
    assert line in said(children)


def test_a_word_without_occurrences_has_no_map(models: Models, runs: Path) -> None:
    found = said(layers.answer(models, str(runs / "lm"), "zzz", "A zzz", "The zzz"))
    assert "No map: 0 documents of the toy corpus have “zzz”" in found


def test_the_language_model_shows_its_predictions(models: Models, runs: Path) -> None:
    key = str(runs / "lm")
    found = predict_words(models.language_model(key), TEXT)
    answer = said(language_model.surprise(models, key, TEXT, "forward"))
    assert f"forward {found.perplexity('forward'):.1f}" in answer
    means = [sum(pair) / 2 for pair in zip(found.forward[:-1], found.backward[1:], strict=True)]
    strip = said(language_model.surprise(models, key, TEXT, "mean")[0])
    assert [word for word in strip.split() if word[0].isdigit()] == [
        f"{mean:.1f}" for mean in means
    ]
    assert all(f"{bits:.3f}" in answer for bits in [*found.forward[:-1], *found.backward[1:]])
    gap = said(language_model.at_gap(models, key, TEXT, 2))
    assert all(f"{p:.5f}" in gap for _, p in [*found.gaps[2].forward, *found.gaps[2].backward])
    assert "there is “raised”" in gap
    assert "there is “bank”" in gap
    assert said(language_model.at_gap(models, key, TEXT, 99)) == said(
        language_model.at_gap(models, key, TEXT, 7)
    )
    empty = said(language_model.at_gap(models, key, TEXT, None))
    assert empty == "gap: expected a number from 0 to 7"


def test_the_word_at_a_gap_is_that_of_the_text(models: Models, runs: Path) -> None:
    text = "It's3,000can't the bank"  # its words, joined, would be read as others
    key = str(runs / "lm")
    words = predict_words(models.language_model(key), text).words
    gap = said(language_model.at_gap(models, key, text, len(words) - 1))
    assert "next word by the forward model; there is “bank”" in gap
    assert "previous word by the backward model; there is “the”" in gap


def test_long_words_are_cut(models: Models, runs: Path) -> None:
    text = f"{'w' * 5000} bank"
    key = str(runs / "lm")
    model = models.classifier(str(runs / "learned"))
    for children in (
        classify._card("", model, explain_side_by_side([model], text)[0], False),
        language_model.surprise(models, key, text, "mean")[0],
        language_model.at_gap(models, key, text, 1),
        layers.answer(models, key, "bank", text.replace("bank", "river"), TEXT),
        layers._cell(Neighbour(0.5, "w" * 5000, 0, 0, ["w" * 5000]), False),
        layers._cell(Neighbour(0.5, "w" * 5000, 0, 0, ["w" * 5000]), True),
    ):
        shown = said(children)
        assert "w…" in shown
        assert "w" * 21 not in shown


@pytest.mark.parametrize("side", ["forward", "backward", "both"])
def test_written_texts_are_those_of_generate(side: Any, models: Models, runs: Path) -> None:
    key = str(runs / "lm")
    found = said(language_model.written(models, key, "the bank", side, 0.9, 4, 5, 2))
    model = models.language_model(key)
    write = partial(generate, model, temperature=0.9, seed=4, max_words=5)
    if side == "both":
        forward = write("the bank", "forward", count=2)
        texts = [write(" ".join(text), "backward", count=1)[0] for text in forward]
    else:
        texts = write("the bank", side, count=2)
    assert all(join_words(text) in found for text in texts)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [((-1, 0, 5, 1), "temperature"), ((1, None, 5, 1), "seed"), ((1, 0, 999, 1), "words at most"),
     ((1, 0, 5, 0), "texts")],
)  # fmt: skip
def test_a_number_out_of_range_is_a_line(
    arguments: tuple, name: str, models: Models, runs: Path
) -> None:
    found = language_model.written(models, str(runs / "lm"), "", "forward", *arguments)
    assert said(found).startswith(f"{name}: expected a number from")


def test_rows_behind_a_cell(runs: Path, tmp_path: Path) -> None:
    key = key_of(runs / "trainable")
    ask = (runs, str(tmp_path), key, "test", "World", "World")
    shown = said(runs_tab.behind(*ask, False))
    assert "test rows of World taken for World" in shown
    names, counts = confusion(find_runs(runs).by_key()[key], "test") or ([], None)
    assert counts is not None
    for true, predicted in (("Sports", "World"), ("World", "Sports")):
        count = counts[names.index(true), names.index(predicted)]
        cell = said(runs_tab.behind(runs, str(tmp_path), key, "test", true, predicted, False))
        assert f"{count} test rows of {true} taken for {predicted}" in cell
    assert counts[0, 1] != counts[1, 0]
    gone = said(runs_tab.behind(runs, str(tmp_path), "0", "test", "World", "World", False))
    assert gone == "this run is gone; load the page again"


def test_the_best_classifiers_are_ticked_first(runs: Path) -> None:
    found = find_runs(runs)
    first = runs_tab._first(table(found))
    scores = [row["val/accuracy"] for row in table(found) if row["corpus"] == first[0]["corpus"]]
    assert [row["val/accuracy"] for row in first] == sorted(scores, reverse=True)[:3]
    assert not any(row["val/perplexity"] for row in first)


def test_ticked_rows_without_a_run_are_counted(runs: Path) -> None:
    run = find_runs(runs).by_key()[key_of(runs / "svm")]
    titles = {key_of(run.folder): "SVM"}
    assert said(runs_tab._links([], {}, 0)) == "No run is ticked."
    assert "alert" not in str(runs_tab._links([run], titles, 0))
    assert said(runs_tab._links([], {}, 2)).startswith("No run is behind 2 of the ticked rows")
    assert "SVM" in said(runs_tab._links([run], titles, 1))


def test_damaged_curves_are_a_line(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "trainable", tmp_path / "run")
    (tmp_path / "run/tables/curves.csv").write_text("tag,step,value\nval/loss,a,b\n")
    found = [run for run in find_runs(tmp_path).runs if run.folder.is_relative_to(tmp_path)]
    assert run_charts.curve_tags(found) == []
    assert "curves.csv: damaged" in said(runs_tab.curves(found, None))
    assert said(runs_tab.curves([], None)) == "Tick runs that have curves."
