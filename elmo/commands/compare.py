"""`elmo compare FOLDERS`: which setting wins, and whether that means anything."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elmo.commands import base
from elmo.errors import DataError
from elmo.utils.terminal import markdown_table, print_table, say

if TYPE_CHECKING:
    from elmo.evaluation.significance import Comparison, Summary


def main(arguments: Sequence[str] | None = None) -> None:
    args = _parser().parse_args(arguments)

    from elmo.evaluation.significance import compare, summarise
    from elmo.runs.finished import find_settings

    settings = find_settings([Path(folder) for folder in args.folders], args.data)
    outcomes = {}
    for setting in settings:
        try:
            outcomes[setting.name] = setting.outcomes(args.split)
        except DataError as error:
            if len(settings) == 1:
                raise
            say(f"left out: {setting.name}: {error}")
    if not outcomes:
        raise DataError(f"no setting has predictions of the {args.split} split")
    summaries = {name: summarise(runs) for name, runs in outcomes.items()}
    names = sorted(outcomes, key=lambda name: -summaries[name].mean)
    pairs = compare([outcomes[name] for name in names])
    data = settings[0].records[0]["data"]
    rows = len(outcomes[names[0]][0].rows)
    title = f"{data['name']}, {data['train_rows']:,} train rows, {rows:,} rows of {args.split}"
    if args.format == "json":
        tables: dict[str, Any] = {
            "data": data,
            "split": args.split,
            "settings": {name: _figures(summaries[name]) for name in names},
            "comparisons": [
                {**pair._asdict(), "one": names[pair.one], "other": names[pair.other]}
                for pair in pairs
            ],
        }
        print(json.dumps(tables, indent=2))
        return
    _show(title, SETTINGS, [_setting(name, summaries[name]) for name in names], args.format)
    if pairs:
        _show(TESTS, PAIRS, [_pair(names, pair) for pair in pairs], args.format)


def _parser() -> argparse.ArgumentParser:
    parser = base.parser(
        "compare",
        "Compares finished classifiers by their predictions. Runs that differ in their seed alone "
        "are one setting: mean and standard deviation over seeds, a 95 % bootstrap interval over "
        "the rows. Each pair of settings is tested by McNemar's exact test on the probabilities "
        "averaged over the seeds that both have; p is corrected for the number of pairs (Holm).",
        "elmo compare outputs/train_cls/..._sweep outputs/train_tfidf",
    )
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="of runs or sweeps")
    parser.add_argument(
        "--data",
        metavar="NAME",
        help="which corpus, by name or fingerprint, where the folders have runs of several",
    )
    parser.add_argument(
        "--split", choices=("train", "validation", "test"), default="test", help="default: test"
    )
    parser.add_argument(
        "--format",
        choices=("table", "markdown", "json"),
        default="table",
        help="on standard output; default: table",
    )
    return parser


SETTINGS = ("setting", "seeds", "accuracy", "± over seeds", "95 % interval", "seeds together")
TESTS = "McNemar's exact test, p corrected for the number of pairs (Holm)"
PAIRS = ("one", "other", "difference", "seeds", "rows only one / other has right", "p")


def _figures(summary: Summary) -> dict[str, Any]:
    """JSON has no word for the deviation of one seed but null."""
    deviation = summary.deviation if summary.seeds > 1 else None
    return {**summary._asdict(), "deviation": deviation}


def _setting(name: str, summary: Summary) -> list[str]:
    return [
        name,
        str(summary.seeds),
        f"{summary.mean:.4f}",
        f"{summary.deviation:.4f}" if summary.seeds > 1 else "",
        f"{summary.low:.4f} to {summary.high:.4f}",
        f"{summary.together:.4f}",
    ]


def _pair(names: Sequence[str], pair: Comparison) -> list[str]:
    p = f"{pair.corrected:.3f}" if pair.corrected >= 0.001 else "< 0.001"
    return [
        names[pair.one],
        names[pair.other],
        f"{100 * pair.difference:+.2f} points",
        str(pair.seeds or "all"),
        f"{pair.only_one} / {pair.only_other}",
        p,
    ]


def _show(title: str, header: Sequence[str], rows: list[list[str]], form: str) -> None:
    if form == "markdown":
        print(f"{title}\n\n{markdown_table(header, rows)}\n")
    else:
        print_table(header, rows, title)
