"""The parts that the commands share: the parser, documents, `--model`, the device, errors."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from elmo.data.readers import read_documents
from elmo.errors import ArtifactError, ConfigError, DataError, ElmoError
from elmo.utils.terminal import say

if TYPE_CHECKING:
    import torch


def parser(name: str, description: str, *examples: str) -> argparse.ArgumentParser:
    """Return the parser of `elmo NAME`; its `--help` ends with the examples."""
    shown = "".join(f"\n  {example}" for example in examples)
    return argparse.ArgumentParser(
        prog=f"elmo {name}",
        description=description,
        epilog=f"example{'s' if len(examples) > 1 else ''}:{shown}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_model(arguments: argparse.ArgumentParser, files: str) -> None:
    """Add `--model`, `--output-dir` and `--device`.

    Args:
        files: the files that `--model` takes, for `--help`.
    """
    arguments.add_argument(
        "--model",
        metavar="MODEL",
        help=f"released; latest, the one trained last; or a path: {files}, or its run folder "
        "(default: the latest one on real text, not the toy corpus, or else the released one)",
    )
    arguments.add_argument(
        "--output-dir",
        metavar="DIR",
        default="outputs",
        help="folder to search for the latest model (default: outputs)",
    )
    add_device(arguments)


def add_device(arguments: argparse.ArgumentParser) -> None:
    """Add `--device`; `device` returns what it names."""
    arguments.add_argument(
        "--device",
        default="auto",
        help="cpu, cuda, cuda:1, mps; default: a GPU if there is one, or else cpu",
    )


def add_cache_dir(arguments: argparse.ArgumentParser) -> None:
    """Add `--cache-dir`."""
    arguments.add_argument(
        "--cache-dir",
        metavar="DIR",
        default=".cache",
        help="folder of the prepared corpus (default: .cache)",
    )


def add_column(arguments: argparse.ArgumentParser) -> None:
    """Add `--column`."""
    arguments.add_argument(
        "--column",
        metavar="NAME",
        help="column with the documents, needed for .csv, .tsv, .jsonl and .parquet; any other "
        "file is plain text, one document per line",
    )


def add_folders(arguments: argparse.ArgumentParser) -> None:
    """Add `FOLDER ...` and `--data`: the runs to compare."""
    arguments.add_argument("folders", nargs="+", metavar="FOLDER", help="folder of runs or sweeps")
    arguments.add_argument(
        "--data",
        metavar="NAME",
        help="corpus, by name or fingerprint, needed where the folders have runs on several",
    )


def add_beside(arguments: argparse.ArgumentParser) -> None:
    """Add `--beside`."""
    arguments.add_argument(
        "--beside",
        action="append",
        default=[],
        metavar="PATH",
        help="another model to compare with, such as a classifier.pt of encoder=word2vec; can be "
        "repeated",
    )


def add_documents(arguments: argparse.ArgumentParser) -> None:
    """Add `TEXT`, `--file` and `--column`; `documents` reads what they name."""
    arguments.add_argument(
        "texts",
        nargs="*",
        metavar="TEXT",
        help="a document; a single - reads standard input, one document per line",
    )
    arguments.add_argument("--file", type=Path, metavar="FILE", help="documents to read instead")
    add_column(arguments)


def documents(args: argparse.Namespace) -> Iterable[str]:
    """Return the documents that the arguments name; those of standard input can be read once.

    A text that is the path of a file is pointed out on standard error.

    Raises:
        ConfigError: they are not from one source.
        DataError: a file or standard input cannot be read.
    """
    if bool(args.texts) == (args.file is not None):
        given = "both are given" if args.texts else "none is given"
        raise ConfigError(f"documents come from TEXT, from - or from --file: {given}; name one")
    if args.file is not None:
        return read_documents(args.file, args.column)
    check_column(args)
    if args.texts == ["-"]:
        return _standard_input()
    for text in args.texts:
        if os.path.isfile(text):
            say(f"{text!r} is a file; --file {shlex.quote(text)} reads it")
    return args.texts


def _standard_input() -> Iterator[str]:
    """Yield the lines of standard input; raise `DataError` for one that is not UTF-8."""
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(f"standard input, line {number}: not UTF-8 ({error.reason})") from error


def check_column(args: argparse.Namespace) -> None:
    """Check that `--column` comes with `--file`.

    Raises:
        ConfigError: there is no `--file`.
    """
    if args.column is not None and args.file is None:
        raise ConfigError(f"--column {args.column} names a column of --file, which is not given")


def model_path(args: argparse.Namespace, kind: str) -> Path:
    """Return the path of the model: `--model`, or the default one of `kind`.

    What it is, and how to choose another, is printed to standard error.

    Raises:
        MissingModelError: there is no such model.
    """
    from elmo.runs.latest import choose_model

    output_dir, any_model = Path(args.output_dir), "--model released|latest|PATH"
    path, lines = choose_model(args.model, output_dir, kind, any_model, "--model latest")
    for line in lines:
        say(line)
    return path


def corpus_run(path: Path, args: argparse.Namespace) -> Path:
    """Return the run whose corpus is read, `--corpus`: a published model has none of its own.

    Args:
        path: the model, whose run serves where the user names none.

    Raises:
        ConfigError: no run is named.
    """
    from elmo.models.published import is_published

    if args.corpus:
        return Path(args.corpus)
    if is_published(path):
        raise ConfigError(
            f"{path}: a published model, which names no corpus; --corpus RUN names a run on the "
            "corpus to search, such as --corpus outputs/reference/train_lm"
        )
    return path


def model_name(model: Path) -> str:
    """Return what a table calls a model.

    Raises:
        ArtifactError: its folder has no record of a run.
    """
    from elmo.models.published import is_published
    from elmo.runs.record import read_record

    if is_published(model):
        return model.stem
    folder = model if model.is_dir() else model.parent
    if not (folder / "metrics.json").is_file():
        raise ArtifactError(f"{folder}: no metrics.json in it; expected a run folder")
    return read_record(folder)["choices"].get("encoder", "elmo")


def device(args: argparse.Namespace) -> torch.device:
    """Return the device that `--device` names.

    Raises:
        ConfigError: this machine has no such device.
    """
    import torch

    if args.device == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        chosen = torch.device(args.device)
        torch.empty(1, device=chosen).tolist()  # some devices hold no numbers
    except (RuntimeError, AssertionError) as error:  # torch has no common base for these
        raise ConfigError(
            f"--device {args.device} is not available on this machine; expected cpu, or cuda, "
            "cuda:1 or mps where there is one; leave it out to use the best device"
        ) from error
    return chosen


def make_empty(folder: Path) -> None:
    """Make the output folder before the work begins, so that no result is lost.

    Raises:
        ConfigError: it cannot be made, or has files in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        empty = not any(folder.iterdir())
    except OSError as error:
        raise ConfigError(
            f"-o {folder}: the folder cannot be made ({error.strerror}); name another one"
        ) from error
    if not empty:
        raise ConfigError(f"{folder}: exists already; name a new folder with -o")


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
        if not isinstance(error, BrokenPipeError):  # a reader, such as `head`, has stopped reading
            say(f"error: {error}")
        # The rest of the buffer would be written once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
