"""What the commands `python -m elmo.NAME` share: `--model`, the device, errors in one line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from elmo.errors import ConfigError, ElmoError

if TYPE_CHECKING:
    import torch


def parser(name: str, description: str, example: str) -> argparse.ArgumentParser:
    """The parser of `python -m elmo.NAME`; `--help` ends with an example."""
    return argparse.ArgumentParser(
        prog=f"python -m elmo.{name}",
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_model(arguments: argparse.ArgumentParser, what: str) -> None:
    """`--model`, `--output-dir` and `--device`.

    Args:
        what: the files that will do, for `--help`.
    """
    arguments.add_argument(
        "--model",
        metavar="PATH",
        help=f"{what}, or its run folder; default: the latest one, else the released one",
    )
    arguments.add_argument(
        "--output-dir",
        metavar="DIR",
        default="outputs",
        help="where the latest model is looked for (default: outputs)",
    )
    arguments.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:1, mps; default: a GPU where there is one"
    )


def add_cache_dir(arguments: argparse.ArgumentParser) -> None:
    """`--cache-dir`."""
    arguments.add_argument(
        "--cache-dir",
        metavar="DIR",
        default=".cache",
        help="where the prepared corpus lies (default: .cache)",
    )


def model_path(args: argparse.Namespace, kind: str) -> Path:
    """Where the model lies: `--model`, else the latest of `kind`, else the released one.

    Told on standard error.

    Raises:
        MissingModelError: none is named, none was trained, and `--output-dir` is not the default.
    """
    from elmo.latest import called, latest_of_all

    named = args.model is not None
    path = Path(args.model) if named else latest_of_all(Path(args.output_dir), kind)
    say(f"model: {called(path)}")
    return path


def device(args: argparse.Namespace) -> torch.device:
    """The device that `--device` names.

    Raises:
        ConfigError: there is no such device here.
    """
    import torch

    if args.device == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        chosen = torch.device(args.device)
        torch.empty(1, device=chosen).tolist()  # some devices hold no numbers
    except (RuntimeError, AssertionError) as error:  # torch has no common base for these
        raise ConfigError(
            f"--device {args.device} is not to be had here; expected cpu, or cuda, cuda:1 or mps "
            "where there is one; leave it out for the best there is"
        ) from error
    return chosen


def say(message: str) -> None:
    """To standard error: results alone stand on standard output."""
    print(message, file=sys.stderr, flush=True)


def run(main: Callable[[], None]) -> None:
    """Run a command; a user's mistake ends in one line on standard error and exit code 1."""
    if sys.stdout is None:
        say("error: standard output is closed; the results have nowhere to go")
        sys.exit(1)
    try:
        main()
        sys.stdout.flush()
    except ElmoError as error:
        say(f"error: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(130)
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # a reader, such as `head`, has had enough
            say(f"error: {error}")
        # What is still in the buffer would be tried again at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
