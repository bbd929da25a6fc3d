"""`elmo predict`: the class of texts, of the documents of a file or of standard input."""

from __future__ import annotations

import argparse
import csv
import json
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from elmo.commands import base
from elmo.data.text import clean
from elmo.errors import ConfigError, DataError
from elmo.utils.terminal import print_table, say, terminal_width

if TYPE_CHECKING:
    from elmo.inference.explanation import Explanation
    from elmo.models.classifier import Prediction, TextClassifier

DESCRIPTION = """\
Print the class of each text and the probability of every class. A table is printed after
the last text; jsonl and csv are written 256 documents at a time, for files and pipes of
any length. With --explain, a table shows the 10 words with the largest effect, jsonl all
words."""

BLOCK = 256  # documents classified, written and flushed at a time
STRONGEST = 10  # words of a text whose effects the table shows
TEXT_WIDTH = 24  # smallest width of the table's column of texts


class Answer(NamedTuple):
    """A document with its prediction."""

    text: str
    prediction: Prediction
    explanation: Explanation | None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `elmo predict`.

    Raises:
        ElmoError: the documents, the model or the options cannot be used.
    """
    args = _parser().parse_args(arguments)
    if args.explain and args.format == "csv":
        raise ConfigError("--explain does not fit the columns of csv; use --format jsonl")
    documents = base.documents(args)

    from elmo.models.classifier import load_classifier

    device = base.device(args)
    model = load_classifier(base.model_path(args, "classifier"), device)
    blocks = _answers(model, documents, args.explain)
    if args.format == "table":
        _print_table(model.class_names, [answer for block in blocks for answer in block])
    elif args.format == "jsonl":
        _write_jsonl(blocks)
    else:
        _write_csv(model.class_names, blocks)


def _parser() -> argparse.ArgumentParser:
    parser = base.parser(
        "predict",
        DESCRIPTION,
        'elmo predict "The bank raised its rates." --explain',
        "elmo predict --file news.csv --column description --format jsonl",
        "zcat news.gz | elmo predict - --format csv",
    )
    base.add_documents(parser)
    parser.add_argument(
        "--format",
        choices=("table", "jsonl", "csv"),
        default="table",
        help="format of the output (default: table)",
    )
    parser.add_argument(
        "--explain",
        action="store_true",
        help="add the weight of each layer for this text, and the effect of each word: the "
        "probability of the class minus that with <unk> in the place of the word",
    )
    base.add_model(parser, "classifier.pt")
    return parser


def _answers(
    model: TextClassifier, documents: Iterable[str], explained: bool
) -> Iterator[list[Answer]]:
    """Classify the documents block by block; an explained document is a block."""
    from elmo.inference.explanation import explain

    for block in _blocks(documents, 1 if explained else BLOCK):
        if explained:
            explanation = explain(model, block[0])
            yield [Answer(block[0], explanation.prediction, explanation)]
        else:
            pairs = zip(block, model.predict(block), strict=True)
            yield [Answer(text, prediction, None) for text, prediction in pairs]


def _blocks(documents: Iterable[str], size: int) -> Iterator[list[str]]:
    """Yield the documents in blocks; those before a document that cannot be read come first."""
    block: list[str] = []
    empty = True
    try:
        for text in documents:
            empty = False
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
    elif empty:
        say("note: there are no documents")


def _write_jsonl(blocks: Iterable[list[Answer]]) -> None:
    """Write one JSON object per line, with lambdas and words where it is explained."""
    for block in blocks:
        for text, prediction, explanation in block:
            line = {"text": text, **prediction._asdict()}
            if explanation is not None:
                line["lambdas"] = explanation.lambdas
                line["words"] = [{"word": w, "effect": effect} for w, effect in explanation.words]
            print(json.dumps(line, ensure_ascii=False))
        sys.stdout.flush()


def _write_csv(class_names: Sequence[str], blocks: Iterable[list[Answer]]) -> None:
    """Write a header, then text, label and the probability of each class."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["text", "label", *(f"p({name})" for name in class_names)])
    for block in blocks:
        for text, (label, probabilities), _ in block:
            writer.writerow([text, label, *probabilities.values()])
        sys.stdout.flush()


def _print_table(class_names: Sequence[str], answers: Sequence[Answer]) -> None:
    """Print one row per document, its text cut to the width, followed by the explanation."""
    from rich.cells import cell_len, set_cell_size

    widths = [max(cell_len(name) for name in ["class", *class_names])]
    widths += [max(cell_len(name), len("0.000")) for name in class_names]
    # Only texts are cut, never figures, even where the terminal is too narrow.
    room = max(TEXT_WIDTH, terminal_width() - sum(widths) - 3 * (len(widths) + 1) - 1)
    rows = []
    for text, (label, probabilities), explanation in answers:
        cell = clean(text)
        if cell_len(cell) > room:
            cell = set_cell_size(cell, room - 1) + "…"
        if explanation is not None:
            cell = "\n".join([cell, *_explanation_lines(explanation, room)])
        rows.append([cell, label, *(f"{p:.3f}" for p in probabilities.values())])
    explained = any(explanation for _, _, explanation in answers)
    print_table(
        ["text", "class", *class_names],
        rows,
        sections=range(len(rows)) if explained else (),
        widths=[room, *widths],
    )


def _explanation_lines(explanation: Explanation, width: int) -> list[str]:
    """Return the weights of the layers, then the strongest words in the order of the text."""
    effects = [effect for _, effect in explanation.words]
    strongest = sorted(range(len(effects)), key=lambda i: -abs(effects[i]))[:STRONGEST]
    # Non-breaking, so that a figure stays beside its word.
    shown = [f"{effects[i]:+.3f}\xa0{explanation.words[i][0]}" for i in sorted(strongest)]
    lines = textwrap.wrap("  ".join(shown), width, break_on_hyphens=False)
    layers = "layers " + " ".join(f"{value:.2f}" for value in explanation.lambdas)
    return [layers, *(line.replace("\xa0", " ") for line in lines)]
