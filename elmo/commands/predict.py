"""`elmo predict`: the class of texts, of a file's documents, of what a pipe brings."""

from __future__ import annotations

import argparse
import csv
import json
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from elmo.commands import base
from elmo.data.readers import read_documents
from elmo.data.text import clean
from elmo.errors import ConfigError, DataError
from elmo.utils.terminal import print_table, terminal_width

if TYPE_CHECKING:
    from elmo.inference.explanation import Explanation
    from elmo.models.classifier import Prediction, TextClassifier

DESCRIPTION = """\
The class of each text and the probability of every class. A table is printed once the
last text is classified; jsonl and csv are written 256 documents at a time, for files and
pipes of any length. A table names the 10 words that weigh most, jsonl every word."""

BLOCK = 256  # documents classified, written and flushed at a time
STRONGEST = 10  # words of a text whose effects the table shows
TEXT_WIDTH = 24  # of the table's column, at least


class Answer(NamedTuple):
    """What the classifier says of one document."""

    text: str
    prediction: Prediction
    explanation: Explanation | None


def main(arguments: Sequence[str] | None = None) -> None:
    parser = base.parser(
        "predict",
        DESCRIPTION,
        'elmo predict "The bank raised its rates." --explain\n'
        "  elmo predict --file news.csv --column description --format jsonl\n"
        "  zcat news.gz | elmo predict - --format csv",
    )
    parser.add_argument(
        "texts", nargs="*", metavar="TEXT", help="a document; a single - is standard input, by line"
    )
    parser.add_argument("--file", type=Path, metavar="FILE", help="documents to read instead")
    base.add_column(parser)
    parser.add_argument(
        "--format", choices=("table", "jsonl", "csv"), default="table", help="default: table"
    )
    parser.add_argument(
        "--explain",
        action="store_true",
        help="the weight of each layer for this text, and the effect of each word: the "
        "probability of the class, less that with <unk> in the place of the word",
    )
    base.add_model(parser, "classifier.pt")
    args = parser.parse_args(arguments)
    if args.explain and args.format == "csv":
        raise ConfigError("--explain does not fit the columns of csv; say --format jsonl")
    documents = source(args)

    from elmo.models.classifier import load_classifier

    device = base.device(args)
    model = load_classifier(base.model_path(args, "classifier"), device)
    blocks = answers(model, documents, args.explain)
    if args.format == "table":
        print_answers(model.class_names, [answer for block in blocks for answer in block])
    elif args.format == "jsonl":
        write_jsonl(blocks)
    else:
        write_csv(model.class_names, blocks)


def source(args: argparse.Namespace) -> Iterable[str]:
    """The documents that the arguments name.

    Raises:
        ConfigError: they name none, or more than one place to read from.
    """
    if bool(args.texts) == (args.file is not None):
        found = "both are given" if args.texts else "none is given"
        raise ConfigError(f"documents come from TEXT, from - or from --file: {found}; say one")
    if args.file is not None:
        return read_documents(args.file, args.column)
    base.check_column(args)
    return standard_input() if args.texts == ["-"] else args.texts


def standard_input() -> Iterator[str]:
    """One document a line.

    Raises:
        DataError: a line is not UTF-8.
    """
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(f"standard input, line {number}: not UTF-8 ({error.reason})") from error


def answers(
    model: TextClassifier, documents: Iterable[str], explained: bool
) -> Iterator[list[Answer]]:
    """Classify block by block; an explained document is a block of its own."""
    from elmo.inference.explanation import explain

    for block in _blocks(documents, 1 if explained else BLOCK):
        if explained:
            explanation = explain(model, block[0])
            yield [Answer(block[0], explanation.prediction, explanation)]
        else:
            pairs = zip(block, model.predict(block), strict=True)
            yield [Answer(text, prediction, None) for text, prediction in pairs]


def _blocks(documents: Iterable[str], size: int) -> Iterator[list[str]]:
    """Where a document cannot be read, those before it are a block, and then the error."""
    block: list[str] = []
    try:
        for text in documents:
            block.append(text)
            if len(block) == size:
                yield block
                block = []
    except DataError:
        if block:
            yield block
        raise
    if block:
        yield block


def write_jsonl(blocks: Iterable[list[Answer]]) -> None:
    """A JSON object a line: text, label, probabilities; where explained, lambdas and words."""
    for block in blocks:
        for text, prediction, explanation in block:
            line = {"text": text, **prediction._asdict()}
            if explanation is not None:
                line["lambdas"] = explanation.lambdas
                line["words"] = [{"word": w, "effect": effect} for w, effect in explanation.words]
            print(json.dumps(line, ensure_ascii=False))
        sys.stdout.flush()


def write_csv(class_names: Sequence[str], blocks: Iterable[list[Answer]]) -> None:
    """A header, then text, label and the probability of each class."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["text", "label", *(f"p({name})" for name in class_names)])
    for block in blocks:
        for text, (label, probabilities), _ in block:
            writer.writerow([text, label, *probabilities.values()])
        sys.stdout.flush()


def print_answers(class_names: Sequence[str], answers: Sequence[Answer]) -> None:
    """Print one row per document, its text cut to the width; where explained, the reasons too."""
    from rich.cells import cell_len, set_cell_size

    widths = [max(cell_len(name) for name in ["class", *class_names])]
    widths += [max(cell_len(name), len("0.000")) for name in class_names]
    # No figure is cut, however narrow the terminal.
    room = max(TEXT_WIDTH, terminal_width() - sum(widths) - 3 * (len(widths) + 1) - 1)
    rows = []
    for text, (label, probabilities), explanation in answers:
        cell = clean(text)
        if cell_len(cell) > room:
            cell = set_cell_size(cell, room - 1) + "…"
        if explanation is not None:
            cell = "\n".join([cell, *reasons(explanation, room)])
        rows.append([cell, label, *(f"{p:.3f}" for p in probabilities.values())])
    explained = any(explanation for _, _, explanation in answers)
    print_table(
        ["text", "class", *class_names],
        rows,
        sections=range(len(rows)) if explained else (),
        widths=[room, *widths],
    )


def reasons(explanation: Explanation, width: int) -> list[str]:
    """Lines: the weights of the layers, then the strongest words in the order of the text."""
    effects = [effect for _, effect in explanation.words]
    strongest = sorted(range(len(effects)), key=lambda i: -abs(effects[i]))[:STRONGEST]
    # No line breaks between a figure and its word.
    shown = [f"{effects[i]:+.3f}\xa0{explanation.words[i][0]}" for i in sorted(strongest)]
    lines = textwrap.wrap("  ".join(shown), width, break_on_hyphens=False)
    layers = "layers " + " ".join(f"{value:.2f}" for value in explanation.lambdas)
    return [layers, *(line.replace("\xa0", " ") for line in lines)]
