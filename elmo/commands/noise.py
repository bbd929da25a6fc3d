"""`elmo noise RUN`: how often labels of the same text disagree, and the accuracy that leaves."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from elmo.commands import base
from elmo.errors import DataError
from elmo.utils.terminal import print_table, say

COSINE = 0.8
HEADER = ("texts", "groups", "with two labels", "labels differ", "wrong labels", "ceiling", "95 %")
MEANING = """\
A ceiling is the accuracy of a classifier that is always right, if all rows were as noisy as these.
It takes the labels of a text as independent, each wrong with probability e, so that two differ with
probability 2 e (1 - e). Texts that occur twice are less clear than others where they differ for a
reason, so it is rather a lower bound; copied labels would make it too high."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `elmo noise`.

    Raises:
        ElmoError: the run or its corpus cannot be used, or no text occurs twice.
    """
    args = _parser().parse_args(arguments)

    from elmo.evaluation.label_noise import ceiling, equal_texts, similar_texts
    from elmo.models.training_corpus import training_corpus
    from elmo.runs.latest import released_run
    from elmo.utils.files import write_json

    run = Path(args.run) if args.run else released_run("bilm")
    corpus = training_corpus(run, args.cache_dir)
    corpus.check_classes()
    rows: list[list[str]] = []
    found_in: list[dict[str, Any]] = []
    sources = {
        "equal, in train": lambda: equal_texts(corpus),
        f"cosine {args.cosine:g}, test and train": lambda: similar_texts(
            corpus, "test", args.cosine
        ),
    }
    for name, find in sources.items():
        try:
            found = find()
        except DataError as error:
            say(f"left out: {error}")
            continue
        value = ceiling(found)
        counts = {"texts": name, "groups": found.groups, "conflicting": found.conflicting}
        estimate = {
            "disagreement": value.disagreement,
            "error": value.error,
            "ceiling": value.accuracy,
            "low": value.low,
            "high": value.high,
        }
        found_in.append(counts | estimate)
        rows.append(
            [
                name,
                f"{found.groups:,}",
                f"{found.conflicting:,}",
                f"{value.disagreement:.1%}",
                f"{value.error:.1%}",
                f"{value.accuracy:.1%}",
                f"{value.low:.1%} to {value.high:.1%}",
            ]
        )
    if not rows:
        raise DataError(f"data={corpus.name}: no text occurs twice, so label noise is unknown")
    facts = corpus.facts
    print_table(HEADER, rows, f"{corpus.name}, {facts['train_rows']:,} train rows")
    print(MEANING)
    if args.output:
        content = {"corpus": corpus.name, "fingerprint": corpus.fingerprint, "sources": found_in}
        write_json(Path(args.output), content)
        say(f"wrote {args.output}")


def _parser() -> argparse.ArgumentParser:
    parser = base.parser(
        "noise",
        "Estimate the accuracy that label noise leaves within reach: how often rows with the same\n"
        "text, or nearly the same, have different labels.",
        "elmo noise outputs/train_cls/RUN",
    )
    parser.add_argument(
        "run",
        nargs="?",
        metavar="RUN",
        help="run folder, whose corpus is read; default: that of the released model",
    )
    parser.add_argument(
        "--cosine",
        type=float,
        default=COSINE,
        help=f"TF-IDF cosine from which texts count as nearly the same (default: {COSINE})",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write the figures as JSON as well, for elmo report"
    )
    base.add_cache_dir(parser)
    return parser
