"""`elmo compare FOLDERS`: settings with intervals and paired tests."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elmo.commands import base
from elmo.errors import ConfigError, DataError
from elmo.utils.terminal import markdown_table, print_table, say

if TYPE_CHECKING:
    from elmo.evaluation.bootstrap import Difference, Summary
    from elmo.evaluation.significance import Comparison
    from elmo.runs.finished import Outcome, Setting

COSINE = 0.8  # of the rows that `--without-near-duplicates` leaves out
SETTINGS = (
    *("setting", "biLMs x seeds", "mean", "± over biLMs", "± over seeds", "95 % interval"),
    "all averaged",
)
DIFFERENCES = ("one", "finding", "other", "on", "difference", "95 % interval")
TESTS = (
    "Averaged models: McNemar's exact test of the probabilities averaged over the runs that both "
    "have, p corrected for the number of pairs (Holm)"
)
PAIRS = ("one", "other", "models averaged", "difference", "right: only one / other", "p")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `elmo compare`.

    Raises:
        ElmoError: see `find_settings`; or no setting has predictions of the split.
    """
    args = _parser().parse_args(arguments)
    cosine = args.without_near_duplicates
    if cosine is not None and args.split == "train":
        raise ConfigError(
            "--without-near-duplicates leaves out rows that resemble a train row; it needs --split "
            "validation or test"
        )

    from elmo.runs.finished import find_settings

    settings = find_settings([Path(folder) for folder in args.folders], args.data)
    outcomes = _outcomes(settings, args.split)
    rows = len(next(iter(outcomes.values()))[0].rows)
    data = settings[0].records[0]["data"]
    title = f"{data['name']}, {data['train_rows']:,} train rows, {rows:,} rows of {args.split}"
    comparison = _Comparison(outcomes, title)
    content = {"data": data, "split": args.split, **comparison.as_json()}
    shown = [comparison]
    if cosine is not None:
        left = _without_near_duplicates(outcomes, settings[0].folders[0], args)
        kept = len(next(iter(left.values()))[0].rows)
        title = (
            f"Without the {rows - kept:,} rows of {args.split} that resemble a train row (TF-IDF "
            f"cosine of {cosine:g} or more): {kept:,} rows"
        )
        shown.append(_Comparison(left, title))
        content["without_near_duplicates"] = {
            "cosine": cosine,
            "rows": kept,
            **shown[1].as_json(),
        }
    if args.format == "json":
        print(json.dumps(content, indent=2))
        return
    for each in shown:
        each.show(args.format)


def _parser() -> argparse.ArgumentParser:
    parser = base.parser(
        "compare",
        "Compare finished classifiers by their predictions. Runs that differ only in their seeds,\n"
        "and biLMs that do, are one setting. The means of single models have 95 % intervals by a\n"
        "hierarchical bootstrap over biLMs, seeds and rows; one setting beats another where the\n"
        "interval of the difference, corrected for the number of pairs (Bonferroni), excludes 0.\n"
        "Averaged models are tested apart, by McNemar's exact test on the rows.",
        "elmo compare outputs/train_cls/..._sweep outputs/train_tfidf",
    )
    base.add_folders(parser)
    parser.add_argument(
        "--split", choices=("train", "validation", "test"), default="test", help="default: test"
    )
    parser.add_argument(
        "--without-near-duplicates",
        type=float,
        nargs="?",
        const=COSINE,
        metavar="COSINE",
        help="show all figures once more without the rows that have a train row of this TF-IDF "
        f"cosine or more (without a number: {COSINE}); reads the corpus of the first run",
    )
    parser.add_argument(
        "--format",
        choices=("table", "markdown", "json"),
        default="table",
        help="format of the output (default: table)",
    )
    base.add_cache_dir(parser)
    return parser


def _outcomes(settings: Sequence[Setting], split: str) -> dict[str, list[Outcome]]:
    """Return the predictions of each setting that has them."""
    found = {}
    for setting in settings:
        try:
            found[setting.name] = setting.outcomes(split)
        except DataError as error:
            if len(settings) == 1:
                raise
            say(f"left out: {setting.name}: {error}")
    if not found:
        raise DataError(f"no setting has predictions of the {split} split; choose another --split")
    return found


def _without_near_duplicates(
    outcomes: Mapping[str, list[Outcome]], folder: Path, args: argparse.Namespace
) -> dict[str, list[Outcome]]:
    import numpy as np

    from elmo.evaluation.near_duplicates import near_duplicates
    from elmo.models.training_corpus import training_corpus

    corpus = training_corpus(folder, args.cache_dir)
    rows = near_duplicates(corpus, args.split, args.without_near_duplicates).row
    kept = {}
    for name, runs in outcomes.items():
        stays = ~np.isin(runs[0].rows, rows)
        kept[name] = [
            run._replace(
                rows=run.rows[stays],
                labels=run.labels[stays],
                probabilities=run.probabilities[stays],
            )
            for run in runs
        ]
    return kept


class _Comparison:
    """What is said of some settings on the same rows; the best mean comes first."""

    def __init__(self, outcomes: Mapping[str, list[Outcome]], title: str) -> None:
        from elmo.evaluation.bootstrap import Bootstrap
        from elmo.evaluation.significance import compare

        runs = list(outcomes.values())
        bootstrap = Bootstrap(runs)
        self.title = title
        self.names = list(outcomes)
        self.summaries = [bootstrap.summary(place) for place in range(len(runs))]
        self.order = sorted(range(len(runs)), key=lambda place: -self.summaries[place].mean)
        pairs = list(combinations(self.order, 2))
        self.differences = bootstrap.differences(pairs)
        self.tests = compare(runs, pairs)

    def as_json(self) -> dict[str, Any]:
        return {
            "settings": {self.names[place]: _plain(self.summaries[place]) for place in self.order},
            "means_of_single_models": [
                {
                    **self._named(pair),
                    "winner": None if pair.winner is None else self.names[pair.winner],
                }
                for pair in self.differences
            ],
            "averaged_models": [self._named(pair) for pair in self.tests],
        }

    def _named(self, pair: Difference | Comparison) -> dict[str, Any]:
        return {**pair._asdict(), "one": self.names[pair.one], "other": self.names[pair.other]}

    def show(self, form: str) -> None:
        rows = [_setting_row(self.names[place], self.summaries[place]) for place in self.order]
        _show(f"{self.title}; accuracy of single models", SETTINGS, rows, form)
        for line in self._notes():
            print(line)
        if self._notes():
            print()
        if not self.differences:
            return
        confidence = 100 * self.differences[0].confidence
        corrected = (
            f'; "beats" where the interval of {confidence:.4g} % excludes 0, 95 % corrected '
            f"for {len(self.differences)} pairs (Bonferroni)"
            if len(self.differences) > 1
            else ""
        )
        _show(
            f"Means of single models: their differences in points{corrected}",
            DIFFERENCES,
            [self._difference_row(pair) for pair in self.differences],
            form,
        )
        _show(TESTS, PAIRS, [self._test_row(pair) for pair in self.tests], form)

    def _notes(self) -> list[str]:
        """Say which runs are copies, and what the intervals do not cover."""
        named = [(self.names[place], self.summaries[place]) for place in self.order]
        notes = [
            f"{name}: {summary.copies + summary.runs} runs, of which "
            f"{summary.copies} only repeat the predictions of another; they count once."
            for name, summary in named
            if summary.copies
        ]
        alone = [name for name, summary in named if summary.bilms == 1]
        if alone:
            notes.append(f"Not covered by the intervals: other biLMs, for {'; '.join(alone)}.")
        alone = [name for name, summary in named if max(summary.seeds) == 1 and not summary.copies]
        if alone:
            notes.append(f"Not covered by the intervals: other seeds, for {'; '.join(alone)}.")
        return notes

    def _difference_row(self, pair: Difference) -> list[str]:
        finding = "not told apart from"
        if pair.winner is not None:
            finding = "beats" if pair.winner == pair.one else "is beaten by"
        return [
            *(self.names[pair.one], finding, self.names[pair.other]),
            f"{pair.bilms} common biLM{'s' if pair.bilms > 1 else ''}" if pair.bilms else "",
            f"{100 * pair.difference:+.2f}",
            f"{100 * pair.low:+.2f} to {100 * pair.high:+.2f}",
        ]

    def _test_row(self, pair: Comparison) -> list[str]:
        return [
            self.names[pair.one],
            self.names[pair.other],
            f"{pair.models[0]} / {pair.models[1]}",
            f"{100 * pair.difference:+.2f} points",
            f"{pair.only_one} / {pair.only_other}",
            f"{pair.corrected:.3f}" if pair.corrected >= 0.001 else "< 0.001",
        ]


def _plain(summary: Summary) -> dict[str, Any]:
    """Return a summary as plain data; a deviation of one value is null, JSON has no NaN."""
    found = {**summary._asdict(), "runs": summary.runs}
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in found.items()
    }


def _setting_row(name: str, summary: Summary) -> list[str]:
    spread = sorted({*summary.seeds})
    seeds = str(spread[0]) if len(spread) == 1 else f"{spread[0]}-{spread[-1]}"
    deviations = (summary.deviation_bilms, summary.deviation)
    return [
        name,
        f"{summary.bilms} x {seeds}" if summary.bilms else seeds,
        f"{summary.mean:.4f}",
        *("" if math.isnan(value) else f"{value:.4f}" for value in deviations),
        f"{summary.low:.4f} to {summary.high:.4f}",
        f"{summary.together:.4f}",
    ]


def _show(title: str, header: Sequence[str], rows: list[list[str]], form: str) -> None:
    if form == "markdown":
        print(f"{title}\n\n{markdown_table(header, rows)}\n")
    else:
        print_table(header, rows, title)
