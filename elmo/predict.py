"""`python -m elmo.predict`: the class of texts, of a file's documents, of what a pipe brings."""

from __future__ import annotations

import argparse
import csv
import json
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from elmo import cli
from elmo.documents import add_column, read_documents
from elmo.errors import ConfigError, DataError
from elmo.text import clean

if TYPE_CHECKING:
    from elmo.classifier import Prediction, TextClassifier
    from elmo.explanation import Explanation

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
    parser = cli.parser(
        "predict",
        DESCRIPTION,
        'python -m elmo.predict "The bank raised its rates." --explain\n'
        "  python -m elmo.predict --file news.csv --column description --format jsonl\n"
        "  zcat news.gz | python -m elmo.predict - --format csv",
    )
    parser.add_argument(
        "texts", nargs="*", metavar="TEXT", help="a document; a single - is standard input, by line"
    )
    parser.add_argument("--file", type=Path, metavar="FILE", help="documents to read instead")
    add_column(parser)
    parser.add_argument(
        "--format", choices=("table", "jsonl", "csv"), default="table", help="default: table"
    )
    parser.add_argument(
        "--explain",
        action="store_true",
        help="the weight of each layer for this text, and the effect of each word: the "
        "probability of the class, less that with <unk> in the place of the word",
    )
    cli.add_model(parser, "classifier.pt")
    args = parser.parse_args(arguments)
    if args.explain and args.format == "csv":
        raise ConfigError("--explain does not fit the columns of csv; say --format jsonl")
    documents = source(args)

    from elmo.classifier import load_classifier

    device = cli.device(args)
    model = load_classifier(cli.model_path(args, "classifier")).to(device)
    blocks = answers(model, documents, args.explain)
    if args.format == "table":
        print_table(model.class_names, (answer for block in blocks for answer in block))
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
    if args.column is not None:
        raise ConfigError(f"--column {args.column} names a column of --file, which is not given")
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
    from elmo.explanation import explain

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


def print_table(class_names: Sequence[str], answers: Iterable[Answer]) -> None:
    """One row a document, its text cut to the width; where explained, the reasons below it."""
    widths = [max(cell_len(name) for name in ["class", *class_names])]
    widths += [max(cell_len(name), len("0.000")) for name in class_names]
    borders = 3 * (len(widths) + 1) + 1
    console = Console()
    room = max(TEXT_WIDTH, console.width - sum(widths) - borders)
    console.width = room + sum(widths) + borders  # no figure is cut, however narrow the terminal
    # Text, because brackets in a string would be Rich's markup.
    table = Table()
    for name, width in zip(["text", "class", *class_names], [room, *widths], strict=True):
        table.add_column(Text(name), width=width)
    for text, (label, probabilities), explanation in answers:
        cell = Text(clean(text))
        cell.truncate(room, overflow="ellipsis")
        if explanation is not None:
            cell.append("".join(f"\n{line}" for line in reasons(explanation, room)))
        figures = [f"{probability:.3f}" for probability in probabilities.values()]
        table.add_row(cell, Text(label), *figures, end_section=explanation is not None)
    console.print(table)


def reasons(explanation: Explanation, width: int) -> list[str]:
    """Lines: the weights of the layers, then the strongest words in the order of the text."""
    effects = [effect for _, effect in explanation.words]
    strongest = sorted(range(len(effects)), key=lambda i: -abs(effects[i]))[:STRONGEST]
    # No line breaks between a figure and its word.
    shown = [f"{effects[i]:+.3f}\xa0{explanation.words[i][0]}" for i in sorted(strongest)]
    lines = textwrap.wrap("  ".join(shown), width, break_on_hyphens=False)
    layers = "layers " + " ".join(f"{value:.2f}" for value in explanation.lambdas)
    return [layers, *(line.replace("\xa0", " ") for line in lines)]


if __name__ == "__main__":
    cli.run(main)
