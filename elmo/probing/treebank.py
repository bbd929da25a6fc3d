"""The token tasks of a treebank in CoNLL-U: part of speech, morphology, dependency label."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from conllu.exceptions import ParseException
from conllu.parser import DEFAULT_FIELDS, parse_dict_value, parse_id_value, parse_line

from elmo.data.readers import read_documents
from elmo.errors import ConfigError, DataError
from elmo.probing.words import Document, Word

COLUMN_TASKS = ("upos", "feats", "deprel")
NONE = "_"  # an empty column
# What is not named is kept as a string; DEPS and HEAD are not needed.
PARSERS = {
    "id": lambda fields, index: parse_id_value(fields[index]),
    "feats": lambda fields, index: parse_dict_value(fields[index]),
}


def is_treebank_task(name: str) -> bool:
    """Tell whether a name is that of a column, or may be that of a feature, such as "Number"."""
    return name in COLUMN_TASKS or re.fullmatch(r"[A-Z]\w*(\[\w+\])?", name) is not None


def read_treebank(path: Path, tasks: Sequence[str]) -> list[Document]:
    """Read the sentences of a CoNLL-U file, whose units are the words as they are written.

    A multiword token such as "don't" is one unit; the words "do" and "n't" in it are labelled. The
    nodes of empty words, which nobody wrote, are skipped. Of a sentence, every word has a label
    of each task, except where the column is empty; "feats" takes the whole column, and there an
    empty one is a label too. A feature labels the words that carry it.

    Args:
        path: the file; `.gz` and `.zst` are decompressed.
        tasks: names of columns (`COLUMN_TASKS`) and of features.

    Raises:
        DataError: the file is missing, has no sentence, or a line is not CoNLL-U; the message names
            the line.
        ConfigError: no word has a label of one of the tasks.
    """
    documents = [_document(lines) for lines in _sentences(path)]
    if not documents:
        raise DataError(f"{path}: no sentence in it; expected CoNLL-U, a word on each line")
    for task in tasks:
        if not any(task in word.labels for document in documents for word in document.words):
            features = {
                name for doc in documents for word in doc.words for name in word.labels
            } - set(tasks)
            raise ConfigError(_unknown(path, task, features))
    return [
        document._replace(words=[_only(word, tasks) for word in document.words])
        for document in documents
    ]


def _only(word: Word, tasks: Sequence[str]) -> Word:
    return word._replace(labels={task: word.labels[task] for task in tasks if task in word.labels})


def _unknown(path: Path, task: str, features: set[str]) -> str:
    if task in COLUMN_TASKS:
        return f"{path}: column {task.upper()} is empty in every line, so there is nothing to probe"
    known = f"; features in it: {', '.join(sorted(features))}" if features else ""
    return f"{path}: no word has the feature {task!r}{known}"


def _sentences(path: Path) -> Iterator[list[dict[str, Any]]]:
    """Yield the parsed lines of each sentence, those of empty nodes left out."""
    sentence: list[dict[str, Any]] = []
    comment = None  # line of a comment that no word has followed yet
    for number, line in enumerate(_lines(path), start=1):
        if line.startswith("#"):
            comment = comment or number
        elif line.strip():
            comment = None
            word = _parse(line, f"{path}, line {number}")
            if word is not None:
                sentence.append(word)
        else:
            _check_words(sentence, comment, path)
            if sentence:
                yield sentence
            sentence, comment = [], None
    _check_words(sentence, comment, path)
    if sentence:
        yield sentence


def _lines(path: Path) -> Iterable[str]:
    if path.suffix.lower() in (".csv", ".tsv", ".jsonl", ".parquet"):
        raise ConfigError(f"{path}: a table; expected a CoNLL-U file, or --task senses")
    return read_documents(path, None)


def _check_words(sentence: list[dict[str, Any]], comment: int | None, path: Path) -> None:
    if comment is not None and not sentence:
        raise DataError(f"{path}, line {comment}: a sentence without words follows the comment")


def _parse(line: str, place: str) -> dict[str, Any] | None:
    """Return the fields of a line by name; None for an empty node.

    Raises:
        DataError: the line is not CoNLL-U.
    """
    columns = line.count("\t") + 1
    if columns != len(DEFAULT_FIELDS):
        raise DataError(
            f"{place}: {columns} columns, expected the {len(DEFAULT_FIELDS)} of CoNLL-U, "
            "separated by tabs"
        )
    try:
        # The parser takes two spaces for a tab, and a form may have them.
        word = parse_line(re.sub(" {2,}", " ", line), DEFAULT_FIELDS, dict(PARSERS))
    except ParseException as error:
        raise DataError(f"{place}: not CoNLL-U ({error})") from error
    number = word["id"]
    if number is None or not word["form"]:
        raise DataError(f"{place}: no {'ID' if number is None else 'FORM'} in it")
    return None if isinstance(number, tuple) and number[1] == "." else word


def _document(lines: list[dict[str, Any]]) -> Document:
    units: list[str] = []
    words: list[Word] = []
    inside: dict[int, tuple[int, str]] = {}  # unit and form of the multiword token of a word
    place: dict[int, int] = {}  # characters of a unit that its words have taken
    for line in lines:
        form = line["form"]
        if isinstance(line["id"], tuple):
            first, _, last = line["id"]
            inside |= {number: (len(units), form) for number in range(first, last + 1)}
            units.append(form)
        elif line["id"] in inside:
            unit, whole = inside[line["id"]]
            start = place.get(unit, 0)
            place[unit] = start + len(form)
            if whole[start : start + len(form)].lower() == form.lower():
                words.append(Word(form.lower(), unit, start, start + len(form), _labels(line)))
            else:  # "du" is "de" and "le": each stands for the whole
                words.append(Word(form.lower(), unit, 0, None, _labels(line)))
        else:
            words.append(Word(form.lower(), len(units), 0, None, _labels(line)))
            units.append(form)
    return Document(units, words)


def _labels(line: dict[str, Any]) -> dict[str, str]:
    """Return all labels of a word: of the columns, and of each feature that it carries."""
    features = {name: value or NONE for name, value in (line["feats"] or {}).items()}
    whole = "|".join(f"{name}={value}" for name, value in features.items()) or NONE
    columns = {name: line[name] for name in ("upos", "deprel") if line[name] != NONE}
    return {**features, **columns, "feats": whole}
