"""`elmo compare FOLDERS`: settings with intervals and paired tests."""

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

SETTINGS = ("setting", "seeds", "accuracy", "± over seeds", "95 % interval", "seeds together")
TESTS = "McNemar's exact test, p corrected for the number of pairs (Holm)"
PAIRS = ("one", "other", "difference", "seeds", "rows only one / other has right", "p")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `elmo compare`.

    Raises:
        ElmoError: see `find_settings`; or no setting has predictions of the split.
    """
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
        raise DataError(
            f"no setting has predictions of the {args.split} split; choose another --split"
        )
    summaries = {name: summarise(runs) for name, runs in outcomes.items()}
    names = sorted(outcomes, key=lambda name: -summaries[name].mean)
    pairs = compare([outcomes[name] for name in names])
    data = settings[0].records[0]["data"]
    if args.format == "json":
        content: dict[str, Any] = {
            "data": data,
            "split": args.split,
            "settings": {name: _json_summary(summaries[name]) for name in names},
            "comparisons": [
                {**pair._asdict(), "one": names[pair.one], "other": names[pair.other]}
                for pair in pairs
            ],
        }
        print(json.dumps(content, indent=2))
        return
    rows = len(outcomes[names[0]][0].rows)
    title = f"{data['name']}, {data['train_rows']:,} train rows, {rows:,} rows of {args.split}"
    _show(title, SETTINGS, [_setting_row(name, summaries[name]) for name in names], args.format)
    if pairs:
        _show(TESTS, PAIRS, [_pair_row(names, pair) for pair in pairs], args.format)


def _parser() -> argparse.ArgumentParser:
    parser = base.parser(
        "compare",
        "Compare finished classifiers by their predictions. Runs that differ only in their seeds\n"
        "are one setting: mean and standard deviation over seeds, and a 95 % bootstrap interval\n"
        "over the rows. Each pair of settings is tested by McNemar's exact test on the\n"
        "probabilities averaged over the seeds that both have; p is corrected for the number of\n"
        "pairs (Holm).",
        "elmo compare outputs/train_cls/..._sweep outputs/train_tfidf",
    )
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="folder of runs or sweeps")
    parser.add_argument(
        "--data",
        metavar="NAME",
        help="corpus, by name or fingerprint, needed where the folders have runs on several",
    )
    parser.add_argument(
        "--split", choices=("train", "validation", "test"), default="test", help="default: test"
    )
    parser.add_argument(
        "--format",
        choices=("table", "markdown", "json"),
        default="table",
        help="format of the output (default: table)",
    )
    return parser


def _json_summary(summary: Summary) -> dict[str, Any]:
    """Return a summary as plain data; the deviation of one seed is null, JSON has no NaN."""
    deviation = summary.deviation if summary.seeds > 1 else None
    return {**summary._asdict(), "deviation": deviation}


def _setting_row(name: str, summary: Summary) -> list[str]:
    return [
        name,
        str(summary.seeds),
        f"{summary.mean:.4f}",
        f"{summary.deviation:.4f}" if summary.seeds > 1 else "",
        f"{summary.low:.4f} to {summary.high:.4f}",
        f"{summary.together:.4f}",
    ]


def _pair_row(names: Sequence[str], pair: Comparison) -> list[str]:
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
