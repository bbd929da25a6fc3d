"""`elmo tune`: a search that learns from its trials, run by Optuna.

`elmo search` writes trials that are drawn beforehand, for a sweep. Here each trial is a run that is
started when the one before has ended, with settings that follow from all before.
"""

from __future__ import annotations

import csv
import io
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from elmo.commands import base
from elmo.errors import ConfigError, check_range

if TYPE_CHECKING:
    from elmo.runs.trials import Space

NEEDED = {"optuna", "alembic", "sqlalchemy", "colorlog"}
SCRIPTS = ("train_lm.py", "train_cls.py", "train_tfidf.py")
OWN = ("hydra", "resume", "evaluate_test")  # keys that the command sets itself


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `elmo tune`.

    Raises:
        ConfigError: the space, the settings or the folder cannot be used, or the first trial fails.
    """
    parser = base.parser(
        "tune",
        "Run trials of a script one after another, and choose the settings of each by what those\n"
        "before have reached on validation. The same command goes on with a study that was\n"
        "interrupted, or makes it larger. The test split is not read.",
        "elmo tune conf/search_cls.yaml --trials 30 -o outputs/tune_cls",
        "elmo tune conf/search_lm.yaml threads=1 --trials 20 --sampler random -o outputs/tune_lm",
    )
    parser.add_argument(
        "space",
        metavar="SPACE",
        help="YAML file with the settings that vary and those that are fixed; conf/search_*.yaml "
        "are shipped with elmo",
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="other settings of every trial"
    )
    parser.add_argument(
        "--trials",
        type=int,
        required=True,
        metavar="N",
        help="trials of the study, all starts together",
    )
    parser.add_argument(
        "-o", "--out", required=True, metavar="DIR", help="folder of the study and of its runs"
    )
    parser.add_argument(
        "--sampler",
        choices=("tpe", "random"),
        default="tpe",
        help="tpe learns from earlier trials, after ten random ones (default: tpe)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the sampler (default: 0)")
    parser.add_argument(
        "--no-pruning",
        action="store_true",
        help="train every trial to its end, even one that is below the median of the others",
    )
    args = parser.parse_args(arguments)
    check_range({"--trials": args.trials}, at_least=1)
    check_range({"--seed": args.seed}, at_least=0)

    from elmo.runs.trials import as_overrides, find_space, read_space
    from elmo.utils.files import write_text
    from elmo.utils.shipped import INSTALLED, command_of
    from elmo.utils.terminal import markdown_table, print_table

    space = read_space(find_space(args.space))
    metric, mode = objective(space, args.overrides)
    try:
        from elmo.training.tuning import run_study
        from elmo.training.tuning_plan import Plan, table
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in NEEDED:
            raise
        way = "'elmo[tune]'" if INSTALLED else "-r requirements-tune.txt -c constraints.txt"
        raise ConfigError(
            f"tune needs {error.name}, which is not installed: pip install {way}"
        ) from error
    plan = Plan(
        space, args.overrides, metric, mode, args.sampler, args.seed, prunes=not args.no_pruning
    )
    name = space.script.removesuffix(".py")

    def command(of_trial: list[str]) -> list[str]:
        return [sys.executable, "-m", "elmo", name.replace("_", "-"), *of_trial]

    folder = Path(args.out)
    study = run_study(plan, folder, args.trials, command)
    header, rows = table(plan, study)
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    write_text(folder / "trials.csv", text.getvalue())
    write_text(folder / "trials.md", markdown_table(header, rows) + "\n")
    print_table([key.rpartition(".")[2] for key in header], rows, right=(0, 1, 2))
    best = as_overrides(space.fixed | study.best_params)
    print(f"best: {shlex.join([*command_of(name).split(), *best, *args.overrides])}")


def objective(space: Space, overrides: Sequence[str]) -> tuple[str, str]:
    """Return the figure by which a script chooses its best epoch, and `max` or `min`.

    Raises:
        ConfigError: the script is none of this project, a setting does not exist, or is the
            command's own.
    """
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException

    import elmo.runs.identity  # noqa: F401  # registers resolvers
    from elmo.runs.trials import as_overrides
    from elmo.utils.shipped import CONF

    if space.script not in SCRIPTS:
        raise ConfigError(f"script is {space.script!r}; expected one of {', '.join(SCRIPTS)}")
    first = {key: values[0] for key, values in space.choices.items()}
    first |= {key: of.low for key, of in space.ranges.items()}
    settings = [*as_overrides(space.fixed | first), *overrides]
    for setting in settings:
        if setting.partition("=")[0].lstrip("+~").partition(".")[0] in OWN:
            raise ConfigError(
                f"{setting}: tune names the folders of its trials, resumes them, and never reads "
                "the test split; leave it out"
            )
        if setting.startswith("-"):
            raise ConfigError(f"{setting}: expected KEY=VALUE, as the script takes it")
    for key, values in space.choices.items():
        if not all(
            value is None or isinstance(value, bool | int | float | str) for value in values
        ):
            raise ConfigError(f"choices.{key}: tune takes numbers, words, true, false and null")
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose(space.script.removesuffix(".py"), settings)
    except HydraException as error:
        raise ConfigError(" ".join(str(error).split())) from error
    return cfg.get("monitor", "val/accuracy"), cfg.get("mode", "max")
