"""`elmo noise RUN`: how often labels disagree, the accuracy that leaves, and which to doubt."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elmo.commands import base
from elmo.errors import ConfigError, DataError, check_range
from elmo.utils.terminal import print_table, say

if TYPE_CHECKING:
    from elmo.data.corpus import Corpus

COSINE = 0.8
HEADER = ("texts", "groups", "with two labels", "labels differ", "wrong labels", "ceiling", "95 %")
MEANING = """\
A ceiling is the accuracy of a classifier that is always right, if all rows were as noisy as these.
It takes the labels of a text as independent, each wrong with probability e, so that two differ with
probability 2 e (1 - e). Texts that occur twice are less clear than others where they differ for a
reason, so it is rather a lower bound; copied labels would make it too high."""
SUSPECTED = """\
A label is suspected where classifiers that have not seen the row take it for another class, as
surely as they take the rows of that class for it in the mean. Right labels of unclear texts are
among them, and wrong ones that look right are not."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `elmo noise`.

    Raises:
        ElmoError: the run or its corpus cannot be used, or no text occurs twice and nothing else
            is asked for.
    """
    args = _parser().parse_args(arguments)
    if args.suspects and args.cross_validate is None:
        raise ConfigError(
            f"--suspects {args.suspects} needs predictions for the train rows; add "
            "--cross-validate 5"
        )

    check_range({"--cross-validate": args.cross_validate}, at_least=2)

    from elmo.models.training_corpus import training_corpus
    from elmo.runs.latest import released_run
    from elmo.utils.files import write_json

    run = Path(args.run) if args.run else released_run("bilm")
    corpus = training_corpus(run, args.cache_dir)
    corpus.check_classes()
    content: dict[str, Any] = {"corpus": corpus.name, "fingerprint": corpus.fingerprint}
    content["sources"] = _labelled_twice(corpus, args.cosine)
    if args.cross_validate is not None:
        content["cross_validation"] = _cross_validated(corpus, args.cross_validate, args.suspects)
    elif not content["sources"]:
        raise DataError(f"data={corpus.name}: no text occurs twice, so label noise is unknown")
    if args.output:
        write_json(Path(args.output), content)
        say(f"wrote {args.output}")


def _labelled_twice(corpus: Corpus, cosine: float) -> list[dict[str, Any]]:
    """Print the ceilings from texts that were labelled twice, and return their figures."""
    from elmo.evaluation.label_noise import ceiling, equal_texts, similar_texts

    rows: list[list[str]] = []
    found_in: list[dict[str, Any]] = []
    sources = {
        "equal, in train": lambda: equal_texts(corpus),
        f"cosine {cosine:g}, test and train": lambda: similar_texts(corpus, "test", cosine),
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
    if rows:
        print_table(HEADER, rows, f"{corpus.name}, {corpus.facts['train_rows']:,} train rows")
        print(MEANING)
    return found_in


def _cross_validated(corpus: Corpus, folds: int, file: str | None) -> dict[str, Any]:
    """Print which labels a classifier doubts, write the rows to a file, and return the figures."""
    from sklearn.linear_model import LogisticRegression

    from elmo.data.corpus import column
    from elmo.evaluation.label_issues import label_issues, write_issues
    from elmo.training.tfidf import TfidfClassifier

    classifier = TfidfClassifier(LogisticRegression(C=10.0, max_iter=1000), longest=2, min_count=2)
    probabilities = classifier.out_of_fold(corpus, folds)
    labels = column(corpus.splits["train"], "label")
    issues = label_issues(probabilities, labels)
    names = corpus.class_names
    pairs: list[dict[str, Any]] = [
        {"label": names[label], "suggested": names[suggested], "rows": count}
        for label, suggested, count in issues.pairs()
    ]
    suspected, accuracy = len(issues.position), float((probabilities.argmax(1) == labels).mean())
    print_table(
        ("label", "rather", "rows"),
        [[pair["label"], pair["suggested"], f"{pair['rows']:,}"] for pair in pairs],
        f"{suspected:,} suspected labels, {suspected / len(labels):.1%} of {len(labels):,}",
        right=(2,),
    )
    print(f"{folds}-fold accuracy of TF-IDF and logistic regression: {accuracy:.1%}.\n{SUSPECTED}")
    if file:
        write_issues(Path(file), corpus, issues)
        say(f"wrote {file}")
    return {
        "folds": folds,
        "accuracy": accuracy,
        "suspected": suspected,
        "share": suspected / len(labels),
        "pairs": pairs,
    }


def _parser() -> argparse.ArgumentParser:
    parser = base.parser(
        "noise",
        "Estimate the accuracy that label noise leaves within reach: how often rows with the same\n"
        "text, or nearly the same, have different labels.",
        "elmo noise outputs/train_cls/RUN",
        "elmo noise --cross-validate 5 --suspects suspects.csv",
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
    parser.add_argument(
        "--cross-validate",
        type=int,
        metavar="FOLDS",
        help="also find the train rows whose label a TF-IDF classifier doubts that was trained on "
        "the other folds, such as 5 (default: off)",
    )
    parser.add_argument(
        "--suspects",
        metavar="FILE",
        help="write these rows as CSV, for label_weights.suspects of train_cls.py",
    )
    base.add_cache_dir(parser)
    return parser
