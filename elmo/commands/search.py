"""`elmo search`: a seeded random search, as a list of trials for a plain multirun.

Hydra sweeps every combination of what varies. Here some are drawn, each becomes a small config file
of the group `trial`, and `'+trial=glob(*)' -m` runs them: a sweep like any other, with its table,
and resumed like any other.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from elmo.commands import base
from elmo.errors import ConfigError


def main(arguments: Sequence[str] | None = None) -> None:
    parser = base.parser(
        "search",
        "Draw the trials of a random search: one config file each, for a multirun.",
        "elmo search conf/search_cls.yaml --trials 12 -o outputs/search_cls",
    )
    parser.add_argument("space", metavar="SPACE", help="YAML file: what varies, what is fixed")
    parser.add_argument("--trials", type=int, required=True, metavar="N", help="how many to draw")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")
    parser.add_argument(
        "-o", "--out", required=True, metavar="DIR", help="folder for the trials, DIR/trial/*.yaml"
    )
    args = parser.parse_args(arguments)

    from elmo.runs.trials import as_config, draw, file_name, read_space
    from elmo.utils.files import write_text

    script, fixed, choices = read_space(Path(args.space))
    folder = Path(args.out) / "trial"
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder}: holds trials already; name another folder with -o")
    for number, trial in enumerate(draw(choices, args.trials, args.seed)):
        write_text(folder / f"{file_name(number, trial)}.yaml", as_config(script, fixed | trial))
    print(
        f"python {script} --config-dir {shlex.quote(args.out)} '+trial=glob(*)' "
        "evaluate_test=false -m"
    )
