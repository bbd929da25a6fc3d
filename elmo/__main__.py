"""The command `elmo`: `elmo COMMAND ...` or `python -m elmo COMMAND ...`."""

from __future__ import annotations

import runpy
import sys
from difflib import get_close_matches
from importlib import import_module

from elmo import __version__
from elmo.commands import base
from elmo.utils.shipped import SHIPPED
from elmo.utils.terminal import say

GROUPS = {
    "Train": {
        "train-lm": "pretrain a biLM: train_lm.py, with the same overrides",
        "train-cls": "train a classifier on the frozen biLM: train_cls.py",
        "train-tfidf": "train TF-IDF and a linear classifier: train_tfidf.py",
        "train-ngram": "train an n-gram language model, for comparison: train_ngram.py",
        "search": "draw the trials of a random search over settings",
        "tune": "search settings by trials that learn from each other, with Optuna",
    },
    "Use a model": {
        "predict": "the class of texts, and why",
        "embed": "the contextual vectors of every document, as HDF5",
        "generate": "text written by the language model",
        "neighbours": "nearest words in similar contexts, layer by layer",
        "page": "look inside models and runs in the browser",
    },
    "Measure": {
        "evaluate": "perplexity and accuracy of a language model on a corpus or a file",
        "senses": "which layer tells the senses of an ambiguous word apart",
        "probe": "what each layer knows: case, topic, part of speech, senses",
        "compare": "settings with intervals and paired tests",
        "blend": "average the predictions of runs, weighted on validation",
        "noise": "estimate the accuracy that wrong labels leave within reach",
        "report": "a PDF report made from finished runs",
    },
    "Share": {
        "release": "a model to pass on, with its figures or in the published format",
    },
}
COMMANDS = {name for commands in GROUPS.values() for name in commands}
USAGE = """\
usage: elmo COMMAND ...

ELMo from scratch: contextual word embeddings pretrained, mixed and measured.
"""


def main() -> None:
    """Run the command that the first argument names; the others are its own."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        base.run(lambda: print(help_text()))
    elif name == "--version":
        print(f"elmo {__version__}")
    elif name not in COMMANDS:
        close = get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        say(f"error: elmo has no command {name!r}; {hint}`elmo --help` lists them all")
        sys.exit(1)
    else:
        run_command(name, arguments)


def help_text() -> str:
    """Return all commands in groups, with one line each."""
    width = max(map(len, COMMANDS))
    lines = [USAGE]
    for group, commands in GROUPS.items():
        lines.append(f"{group}:")
        lines += [f"  {name:{width}}  {line}" for name, line in commands.items()]
        lines.append("")
    lines.append("`elmo COMMAND --help` says more. Models, figures and caches go to the working")
    lines.append("directory: outputs/ and .cache/.")
    return "\n".join(lines)


def run_command(name: str, arguments: list[str]) -> None:
    """Run a command; one that trains is the script of that name."""
    if name.startswith("train-"):
        script = SHIPPED / f"{name.replace('-', '_')}.py"
        sys.argv = [str(script), *arguments]
        sys.path.insert(0, str(SHIPPED))
        runpy.run_path(str(script), run_name="__main__")
        return
    sys.argv = [f"elmo {name}", *arguments]
    base.run(import_module(f"elmo.commands.{name}").main)


def forward(module: str, name: str) -> None:
    """Run `elmo NAME` for the older `python -m elmo.NAME`, with a note on standard error.

    Args:
        module: the `__name__` of the module that forwards.

    Raises:
        ImportError: it was imported, and not run.
    """
    if module != "__main__":
        raise ImportError(f"elmo.{name} is a command, not a module; see elmo.commands.{name}")
    say(f"note: `python -m elmo.{name}` is now `elmo {name}` or `python -m elmo {name}`")
    run_command(name, sys.argv[1:])


if __name__ == "__main__":
    main()
