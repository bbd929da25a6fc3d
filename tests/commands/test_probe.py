from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from elmo.commands.probe import main
from elmo.data.corpora.toy import ToyNews
from elmo.errors import ElmoError
from elmo.probing.corpora import truecase_document
from probing.test_treebank import line

Command = Any


@pytest.fixture
def command(
    pretrained: Path, cache_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run `elmo probe` on the toy biLM; return the record, standard output and standard error."""

    def run(*options: str) -> tuple[dict[str, Any], str, str]:
        folders = ["--output-dir", str(pretrained), "--cache-dir", str(cache_dir)]
        out = tmp_path / "probe.json"
        capsys.readouterr()
        main([*folders, "--device", "cpu", "--seeds", "1", "-o", str(out), *options])
        printed = capsys.readouterr()
        assert out.with_suffix(".svg").read_bytes().startswith(b"<?xml")
        return json.loads(out.read_text()), printed.out, printed.err

    return run


def test_truecase_on_the_corpus_of_the_model(command: Command, toy: ToyNews) -> None:
    record, printed, told = command("--task", "truecase", "--layers", "0,mix")
    task = record["tasks"]["truecase"]
    texts = [truecase_document(text) for text in toy.splits["test"]["text"]]
    assert task["words"]["test"] == sum(len(text.words) for text in texts)
    assert sorted(task["classes"]) == ["capital", "lower"]
    assert [result["layer"] for result in task["results"]] == [0, "mix"]
    assert task["results"][0]["accuracy"]["mean"] > task["baselines"]["majority"]
    assert sum(task["results"][1]["lambdas"][0]) == pytest.approx(1)
    assert record["data"]["truecase"]["corpus"] == "toy"
    assert record["data"]["truecase"]["fingerprint"] == toy.fingerprint
    accuracy = task["results"][0]["accuracy"]["mean"]
    assert f"{accuracy:.4f}" in printed
    assert "elmo, lambdas: " in printed
    assert "3 layers of width 32" in told
    assert "MB in half precision" in told


def test_topic_with_both_probes_and_another_model(command: Command, classified: Path) -> None:
    options = ("--task", "topic", "--rows", "60", "--layers", "1", "--probe", "linear,mlp")
    record, printed, _ = command(*options, "--beside", str(classified))
    results = record["tasks"]["topic"]["results"]
    assert [(one["encoder"], one["layer"], one["probe"]) for one in results] == [
        ("elmo", 1, "linear"),
        ("elmo", 1, "mlp"),
        ("elmo 2", 1, "linear"),
        ("elmo 2", 1, "mlp"),
    ]
    assert results[0]["control"] is results[0]["ambiguous"] is None  # a document has no word type
    assert results[0]["accuracy"] == results[2]["accuracy"]  # the classifier's is the same biLM
    for key in ("fingerprint", "bilm"):
        assert record["models"]["elmo"][key] == record["models"]["elmo 2"][key]
    assert record["models"]["elmo"]["bilm"]
    assert "60 documents of train" in printed


@pytest.fixture
def treebank(tmp_path: Path) -> list[str]:
    """Options that name a small treebank."""
    words = [("The", "DET", "_"), ("bank", "NOUN", "Number=Sing"), ("fell", "VERB", "_")]
    more = [("Shares", "NOUN", "Number=Plur"), ("rose", "VERB", "_")]
    sentences = [
        "\n".join(line(str(n), *word) for n, word in enumerate(one, start=1))
        for one in (words, more) * 4
    ]
    file = tmp_path / "small.conllu"
    file.write_text("\n\n".join(sentences) + "\n")
    return [part for split in ("train", "validation", "test") for part in (f"--{split}", str(file))]


def test_a_treebank(command: Command, treebank: list[str]) -> None:
    record, _, _ = command("--task", "upos,Number", *treebank, "--layers", "0,1")
    assert record["tasks"]["upos"]["words"]["train"] == 20
    assert record["tasks"]["Number"]["words"]["train"] == 8
    assert record["tasks"]["upos"]["baselines"]["word_type"] == 1
    facts = record["data"]["upos"]
    assert facts["files"]["train"] == "small.conllu"
    assert len(facts["sha256"]["test"]) == 16
    assert "bank" not in json.dumps(record)  # figures, and no text


def test_senses(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "senses.tsv"
    rows = ["the [pitch] was wet\tfield", "a sales [pitch] to investors\ttalk"] * 3
    file.write_text("\n".join(["text\tsense", *rows]))
    options = [part for split in ("train", "validation", "test") for part in (f"--{split}", file)]
    record, _, _ = command("--task", "senses", *map(str, options), "--layers", "1")
    task = record["tasks"]["senses"]
    assert task["classes"] == ["field", "talk"]
    assert task["ambiguous_in_test"] == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "colour"], "--task colour: no such task; expected some of upos, feats, deprel"),
        (["--task", ","], "--task is empty"),
        (["--task", "upos"], "--task upos needs --train, --validation and --test; --train and"),
        (["--task", "upos", "--train", "a", "--validation", "b"], "--test is missing"),
        (["--task", "senses,upos"], "--task senses reads tables and the others treebanks"),
        (["--task", "topic", "--test", "a"], "--task topic reads the corpus of a run"),
        (["--task", "topic", "--probe", "tree"], "--probe is 'tree'; expected some of linear, mlp"),
        (["--task", "topic", "--layers", "7"], "--layers 7: expected some of 0, 1, 2, mix"),
        (["--task", "topic", "--seeds", "0"], "--seeds is 0; expected 1 or more"),
        (["--task", "topic", "--rows", "0"], "--rows is 0; expected 1 or more"),
        (["--task", "topic", "-o", "probe.csv"], "expected a file that ends in .json"),
        (["--task", "topic", "--model", "nowhere.pt"], "no such file"),
        (["--task", "topic", "--corpus", "nowhere"], "no such file"),
    ],
)
def test_mistakes_end_in_one_line(command: Command, options: list[str], message: str) -> None:
    with pytest.raises(ElmoError, match=message) as caught:
        command(*options)
    assert "\n" not in str(caught.value)


def test_a_feature_that_no_word_has(command: Command, treebank: list[str]) -> None:
    with pytest.raises(ElmoError, match=r"no word has the feature 'Tense'; features in it: Number"):
        command("--task", "Tense", *treebank)
