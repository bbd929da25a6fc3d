"""`elmo search`: a seeded random search, as a list of trials for a plain multirun.

Hydra sweeps every combination of what varies. Here some combinations are drawn, and each becomes a
small config file of the group `trial`. `'+trial=glob(*)' -m` runs them as an ordinary sweep, with
its table, which can be resumed, and whose jobs a launcher may run side by side. `elmo tune` runs
trials one after another, and lets each follow from those before.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from elmo.commands import base
from elmo.errors import ConfigError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `elmo search`.

    Raises:
        ConfigError: the search space or the number of trials cannot be used, or the folder is
            not empty.
    """
    parser = base.parser(
        "search",
        "Draw the trials of a random search: write one config file each, and print the command\n"
        "that runs them as a multirun.",
        "elmo search conf/search_cls.yaml --trials 12 -o outputs/search_cls",
    )
    parser.add_argument(
        "space",
        metavar="SPACE",
        help="YAML file with the settings that vary and those that are fixed; conf/search_cls.yaml "
        "and conf/search_lm.yaml are shipped with elmo",
    )
    parser.add_argument("--trials", type=int, required=True, metavar="N", help="number of trials")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw (default: 0)")
    parser.add_argument(
        "-o", "--out", required=True, metavar="DIR", help="folder for the trials, DIR/trial/*.yaml"
    )
    args = parser.parse_args(arguments)

    from elmo.runs.trials import as_config, draw, file_name, find_space, read_space
    from elmo.utils.files import write_text
    from elmo.utils.shipped import command_of

    space = read_space(find_space(args.space))
    folder = Path(args.out) / "trial"
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder}: contains trials already; name another folder with -o")
    for number, trial in enumerate(draw(space, args.trials, args.seed)):
        content = as_config(space.script, space.fixed | trial)
        write_text(folder / f"{file_name(number, trial)}.yaml", content)
    command = command_of(space.script.removesuffix(".py"))
    print(f"{command} --config-dir {shlex.quote(args.out)} '+trial=glob(*)' evaluate_test=false -m")
