from __future__ import annotations

from pathlib import Path

import pytest

from elmo.errors import ConfigError, DataError, ElmoError
from elmo.probing.sense_table import read_senses


def table(folder: Path, text: str, name: str = "senses.csv") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_the_marked_word(tmp_path: Path) -> None:
    file = table(tmp_path, "id,text,sense\n1,The [Pitch] was wet,field\n2,[bank] rates,money\n")
    first, second = read_senses(file, ["text", "sense"])
    assert first.units == ["The ", "Pitch", " was wet"]
    assert (first.words[0].form, first.words[0].unit) == ("pitch", 1)
    assert first.words[0].labels == {"senses": "field"}
    assert second.units == ["", "bank", " rates"]


def test_the_position_of_the_word(tmp_path: Path) -> None:
    rows = '{"s": 3, "t": "the river bank", "p": 2}\n'
    (found,) = read_senses(table(tmp_path, rows, "senses.jsonl"), ["t", "s", "p"])
    assert found.units == ["the", "river", "bank"]
    assert (found.words[0].form, found.words[0].labels) == ("bank", {"senses": "3"})


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("text,sense\n", "text,sense", "no rows in it"),
        ("", "text,sense", "empty file"),
        ("text,meaning\na [b],x\n", "text,sense", r"no column 'sense'; set --columns to one of"),
        ("text,sense\na b,x\n", "text,sense", "row 1: 0 words in brackets, expected one"),
        ("text,sense\na [b],x\n[a] [b],x\n", "text,sense", "row 2: 2 words in brackets"),
        ("text,sense\na [b],\n", "text,sense", "row 1: the sense is empty"),
        ("text,sense,p\na b,x,2\n", "text,sense,p", "row 1: position '2', expected 0 to 1"),
        ("text,sense,p\na b,x,-1\n", "text,sense,p", "row 1: position '-1'"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, columns: str, message: str) -> None:
    with pytest.raises(ElmoError, match=message) as caught:
        read_senses(table(tmp_path, text), columns.split(","))
    assert isinstance(caught.value, (DataError, ConfigError))


def test_plain_text_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a table for --task senses"):
        read_senses(table(tmp_path, "The [pitch]\n", "senses.txt"), ["text", "sense"])
