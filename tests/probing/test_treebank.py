from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from elmo.errors import ConfigError, DataError
from elmo.probing.treebank import is_treebank_task, read_treebank


def line(number: str, form: str, upos: str = "X", feats: str = "_", deprel: str = "dep") -> str:
    return "\t".join([number, form, "_", upos, "_", feats, "0", deprel, "_", "_"])


TEXT = "\n".join(
    [
        "# text = I don't see 10  000 du.",
        line("1", "I", "PRON", "Number=Sing|Person=1"),
        line("2-3", "don't", "_", "_", "_"),
        line("2", "do", "AUX", "Tense=Pres"),
        line("3", "n't", "PART"),
        line("4", "see", "VERB"),
        line("4.1", "it", "PRON", "Number=Sing"),
        line("5", "10  000", "NUM", "NumType=Card"),
        line("6-7", "du", "_", "_", "_"),
        line("6", "de", "ADP"),
        line("7", "le", "DET", "Number=Sing"),
        line("8", ".", "PUNCT"),
        "",
        line("1", "Cats", "NOUN", "Number=Plur"),
        "",
    ]
)


@pytest.fixture
def treebank(tmp_path: Path) -> Path:
    file = tmp_path / "small.conllu"
    file.write_text(TEXT)
    return file


def test_multiword_tokens_are_units_and_their_words_are_labelled(treebank: Path) -> None:
    first, second = read_treebank(treebank, ["upos"])
    assert first.units == ["I", "don't", "see", "10 000", "du", "."]
    found = [(w.form, w.unit, w.start, w.end, w.labels["upos"]) for w in first.words]
    assert found == [
        ("i", 0, 0, None, "PRON"),
        ("do", 1, 0, 2, "AUX"),
        ("n't", 1, 2, 5, "PART"),
        ("see", 2, 0, None, "VERB"),
        ("10 000", 3, 0, None, "NUM"),
        ("de", 4, 0, None, "ADP"),  # not in the letters of "du": it stands for the whole
        ("le", 4, 0, None, "DET"),
        (".", 5, 0, None, "PUNCT"),
    ]  # and not the empty node 4.1, which nobody wrote
    assert [w.form for w in second.words] == ["cats"]


def test_a_feature_labels_the_words_that_carry_it(treebank: Path) -> None:
    first, second = read_treebank(treebank, ["Number", "feats"])
    assert [w.form for w in first.words if "Number" in w.labels] == ["i", "le"]
    assert second.words[0].labels == {"Number": "Plur", "feats": "Number=Plur"}
    assert first.words[0].labels["feats"] == "Number=Sing|Person=1"
    assert first.words[2].labels == {"feats": "_"}


def test_a_compressed_file(treebank: Path, tmp_path: Path) -> None:
    packed = tmp_path / "small.conllu.gz"
    packed.write_bytes(gzip.compress(TEXT.encode()))
    assert read_treebank(packed, ["upos"]) == read_treebank(treebank, ["upos"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\tA\tB\n", r"line 1: 3 columns, expected the 10 of CoNLL-U"),
        (f"# a comment\n{line('x', 'A')}\n", r"line 2: not CoNLL-U .*'x' is not a valid ID"),
        (line("_", "A"), r"line 1: no ID"),
        (line("1", ""), r"line 1: no FORM"),
        ("", r"no sentence in it"),
        ("\n\n", r"no sentence in it"),
        (f"{line('1', 'A')}\n\n# text = \n\n{line('1', 'B')}\n", r"line 3: a sentence without"),
        (f"{line('1', 'A')}\n\n# the end", r"line 3: a sentence without words"),
    ],
)
def test_what_is_not_conllu_is_refused_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "broken.conllu"
    file.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_treebank(file, ["upos"])
    assert "broken.conllu" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_and_files_that_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "latin.conllu"
    file.write_bytes(line("1", "A").encode() + b"\n" + "é".encode("latin-1"))
    with pytest.raises(DataError, match="line 2: not UTF-8"):
        read_treebank(file, ["upos"])
    with pytest.raises(DataError, match="no such file"):
        read_treebank(tmp_path / "nowhere.conllu", ["upos"])
    table = tmp_path / "table.csv"
    table.write_text("text,sense\n")
    with pytest.raises(ConfigError, match=r"a table; expected a CoNLL-U file"):
        read_treebank(table, ["upos"])


def test_a_task_that_labels_no_word_is_refused(treebank: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no word has the feature 'Case'; .*Number, Person"):
        read_treebank(treebank, ["Case"])
    file = tmp_path / "bare.conllu"
    file.write_text(line("1", "A", deprel="_"))
    with pytest.raises(ConfigError, match="column DEPREL is empty"):
        read_treebank(file, ["deprel"])


def test_names_of_tasks() -> None:
    assert all(map(is_treebank_task, ["upos", "feats", "deprel", "Number", "Person[psor]"]))
    assert not any(map(is_treebank_task, ["number", "upos2", "", "truecase", "Num ber"]))
