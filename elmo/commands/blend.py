"""`elmo blend RUNS`: a weighted average of the predictions of runs, chosen on validation."""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from elmo.commands import base
from elmo.errors import ConfigError
from elmo.utils.terminal import markdown_table, print_table, say

if TYPE_CHECKING:
    from elmo.evaluation.blending import Blend
    from elmo.runs.finished import Outcome, Setting

FIGURES = "accuracy / F1 / log loss"
HEADER = ("member", "weight", "temperature", *(f"{s}: {FIGURES}" for s in ("validation", "test")))
SHOWN = ("accuracy", "f1", "loss")
PREFIX = {"validation": "val", "test": "test"}


class _Member(NamedTuple):
    """A run that is blended."""

    setting: str
    record: dict[str, Any]
    outcomes: dict[str, Outcome]  # by split

    @property
    def title(self) -> str:
        validation = self.outcomes["validation"]
        bilm = f", biLM {validation.bilm}" if validation.bilm else ""
        seed = "" if validation.seed is None else f", seed {validation.seed}"
        return f"{self.setting}{bilm}{seed}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `elmo blend`.

    Raises:
        ElmoError: the runs do not blend, see `choose_blend`, or one kept no predictions.
    """
    args = _parser().parse_args(arguments)
    folder = Path(args.output) if args.output else None
    if folder:
        base.make_empty(folder)
    started = time.perf_counter()

    from elmo.evaluation.blending import blended, choose_blend, uniform
    from elmo.runs.finished import find_settings

    members = _members(find_settings([Path(item) for item in args.folders], args.data))
    blend = choose_blend([member.outcomes["validation"] for member in members])
    averages: dict[str, dict[str, Outcome]] = {"uniform average": {}, "fitted weights": {}}
    for split in PREFIX:
        outcomes = [member.outcomes[split] for member in members]
        equal = uniform(len(members))
        for name, weights in zip(averages, (equal, blend.fitted), strict=True):
            averages[name][split] = blended(outcomes, blend.temperatures, weights)
    used = "fitted weights" if blend.uses_fitted else "uniform average"
    _show(members, averages, blend, used, args.format)
    if folder:
        _write(folder, members, averages[used], blend, time.perf_counter() - started)
        say(f"wrote {folder}: the {used}")


def _parser() -> argparse.ArgumentParser:
    parser = base.parser(
        "blend",
        "Average the stored probabilities of classifiers. Temperatures and weights are fitted to\n"
        "the log loss of validation; where cross-validation does not find the weights better than\n"
        "equal ones, or less accurate, equal weights are used. The test split chooses nothing.",
        "elmo blend outputs/train_cls/..._sweep outputs/train_tfidf -o outputs/blend",
    )
    base.add_folders(parser)
    parser.add_argument(
        "--format", choices=("table", "markdown"), default="table", help="default: table"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        help="new folder for the blend: metrics.json and predictions/, which `compare` and "
        "`report` read as a setting",
    )
    return parser


def _members(settings: Sequence[Setting]) -> list[_Member]:
    """Return the runs with their predictions; of those that are alike, one.

    Raises:
        ConfigError: there is a single run.
        DataError: a run kept no predictions of validation or test.
    """
    from elmo.evaluation.significance import distinct_runs

    if sum(len(setting.folders) for setting in settings) < 2:
        raise ConfigError(
            f"{settings[0].folders[0]}: a single run; a blend needs two or more, name more folders"
        )
    outcomes = {split: [s.outcomes(split) for s in settings] for split in PREFIX}
    found = []
    for place, setting in enumerate(settings):
        kept = distinct_runs(outcomes["validation"][place])
        for number, validation in enumerate(outcomes["validation"][place]):
            if any(validation is one for one in kept):
                both = {split: outcomes[split][place][number] for split in PREFIX}
                found.append(_Member(setting.name, setting.records[number], both))
        if copies := len(setting.folders) - len(kept):
            runs = "one run" if copies == 1 else f"{copies} runs"
            say(f"left out: {setting.name}: {runs} with the predictions of another")
    return found


def _figures(outcome: Outcome) -> dict[str, float]:
    import torch

    from elmo.evaluation.metrics import probability_metrics

    labels = [outcome.classes.index(label) for label in outcome.labels]
    return probability_metrics(torch.from_numpy(outcome.probabilities), torch.tensor(labels))


def _show(
    members: Sequence[_Member],
    averages: dict[str, dict[str, Outcome]],
    blend: Blend,
    used: str,
    form: str,
) -> None:
    from elmo.evaluation.blending import blended, uniform

    rows = []
    for place, member in enumerate(members):
        temperature = blend.temperatures[place : place + 1]
        calibrated = {
            split: blended([member.outcomes[split]], temperature, uniform(1)) for split in PREFIX
        }
        weight = f"{blend.fitted[place]:.3f}"
        rows.append([member.title, weight, f"{temperature[0]:.2f}", *_cells(calibrated)])
    rows += [[name, "", "", *_cells(outcomes)] for name, outcomes in averages.items()]
    title = f"{len(members)} members at their temperatures, and their averages"
    if form == "markdown":
        print(f"{title}\n\n{markdown_table(HEADER, rows)}\n")
    else:
        print_table(HEADER, rows, title, sections=(len(members) - 1,))
    verb = "are" if blend.uses_fitted else "is"
    print(
        f"On held-out validation rows, fitted weights and equal ones: accuracy "
        f"{blend.fitted_accuracy:.4f} and {blend.uniform_accuracy:.4f}, log loss "
        f"{blend.fitted_loss:.4f} and {blend.uniform_loss:.4f}, a gain of {blend.gain:.4f} with a "
        f"standard error of {blend.error:.4f}. The {used} {verb} used."
    )


def _cells(outcomes: dict[str, Outcome]) -> list[str]:
    figures = [_figures(outcomes[split]) for split in PREFIX]
    return [" / ".join(f"{found[name]:.4f}" for name in SHOWN) for found in figures]


def _write(
    folder: Path,
    members: Sequence[_Member],
    outcomes: dict[str, Outcome],
    blend: Blend,
    seconds: float,
) -> None:
    """Write the blend as a run that `compare` and `report` read."""
    import pyarrow.parquet as pq
    import torch

    from elmo.evaluation.metrics import per_class_metrics
    from elmo.evaluation.predictions import predictions_table
    from elmo.runs.record import METRICS_FILE, git_state, versions
    from elmo.utils.files import atomic_writer, write_json

    metrics: dict[str, float] = {}
    splits: dict[str, Any] = {}
    for split, outcome in outcomes.items():
        names = outcome.classes
        probabilities = outcome.probabilities.astype("float32")
        table = predictions_table(outcome.rows, outcome.labels, probabilities, names)
        with atomic_writer(folder / "predictions" / f"{split}.parquet") as handle:
            pq.write_table(table, handle)
        figures = _figures(outcome)
        metrics |= {f"{PREFIX[split]}/{name}": value for name, value in figures.items()}
        labels = torch.tensor([names.index(label) for label in outcome.labels])
        scores = per_class_metrics(len(names))(torch.from_numpy(probabilities), labels)
        confusion = scores.pop("confusion").tolist()
        per_class = {
            name: {score: float(values[place]) for score, values in scores.items()}
            for place, name in enumerate(names)
        }
        splits[split] = {"per_class": per_class, "confusion": confusion}
    described = [
        {
            "setting": member.setting,
            "seed": member.outcomes["validation"].seed,
            "bilm": member.outcomes["validation"].bilm,
            "weight": float(weight),
            "temperature": float(temperature),
        }
        for member, weight, temperature in zip(
            members, blend.weights, blend.temperatures, strict=True
        )
    ]
    digest = hashlib.sha256(outcomes["validation"].probabilities.tobytes()).hexdigest()[:8]
    label = f"Blend of {len(members)} runs, {digest}"
    facts = [member.record["data"] for member in members]
    record = {
        "metrics": metrics,
        "splits": splits,
        "data": {
            key: value
            for key, value in facts[0].items()
            if all(other.get(key) == value for other in facts)
        },
        "choices": {"encoder": "blend"},
        "label": label,
        "settings": {"seed": None, "label": label},
        "members": described,
        "held_out": {
            "fitted": {"accuracy": blend.fitted_accuracy, "loss": blend.fitted_loss},
            "uniform": {"accuracy": blend.uniform_accuracy, "loss": blend.uniform_loss},
            "error_of_gain": blend.error,
        },
        "device": "cpu",
        "threads": 1,
        "seconds": seconds,
        "versions": versions(),
        "git": git_state(),
    }
    write_json(folder / METRICS_FILE, record)
