"""`elmo page`: a look inside models and runs in the browser."""

from __future__ import annotations

import argparse
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from elmo.commands import base
from elmo.errors import ConfigError, check_range
from elmo.utils.shipped import INSTALLED
from elmo.utils.terminal import say

HOST = "127.0.0.1"  # this machine alone
PORT = 8051
NEEDED = {"dash", "dash_ag_grid", "flask", "plotly", "waitress"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `elmo page` until it is interrupted.

    Raises:
        ElmoError: the models, the texts, the port or the options cannot be used.
    """
    args = _parser().parse_args(arguments)
    check_range({"--port": args.port}, at_least=0, at_most=65535)
    try:
        from elmo.page.app import create_app, create_server
        from elmo.page.models import Models
        from elmo.page.texts import SearchedTexts
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in NEEDED:
            raise
        way = "'elmo[page]'" if INSTALLED else "-r requirements-page.txt -c constraints.txt"
        raise ConfigError(
            f"the page needs {error.name}, which is not installed: pip install {way}"
        ) from error
    runs = Path(args.runs)
    if not runs.is_dir() and args.runs != "outputs":
        raise ConfigError(f"--runs {runs}: no such folder; expected a folder of runs")
    corpus = None if args.corpus is None else Path(args.corpus)
    texts = SearchedTexts(corpus, args.column, args.label_column)
    models = Models(args.model, runs, base.device(args), texts)
    for line in models.lines:
        say(line)
    app = create_app(models, runs, args.cache_dir, args.tensorboard)
    listener = _listener(args.port)
    address = f"http://{HOST}:{listener.getsockname()[1]}/"
    say(f"{address}  (Ctrl-C ends it)")
    threading.Thread(target=models.warm_up, daemon=True).start()
    if not args.no_browser and _has_screen():
        webbrowser.open(address)
    create_server(app, listener).run()
    # Where Python ends while a thread loads or answers, PyTorch aborts the process with a message.
    os._exit(0)


def _listener(port: int) -> socket.socket:
    """Return a socket that listens at a port of this machine.

    Raises:
        ConfigError: the port is taken.
    """
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise ConfigError(
            f"--port {port}: {os.strerror(error.errno or 0)}; name another one, or 0 for any that "
            "is free"
        ) from error


def _has_screen() -> bool:
    """Tell whether a browser would open a window, and not take over the terminal."""
    if sys.platform in ("darwin", "win32"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))


def _parser() -> argparse.ArgumentParser:
    parser = base.parser(
        "page",
        "Open a page in the browser to look inside: classifiers side by side on a sentence, a\n"
        "word layer by layer, what the language model expects, and all runs. It is served to this\n"
        "machine alone and asks for nothing from outside.",
        "elmo page --model latest",
        "elmo page --corpus news.csv --column text --label-column topic",
    )
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="MODEL",
        help="model shown first: released, latest, or a path: bilstm.pt, classifier.pt, their run "
        "folder or a published model; can be repeated (default: the latest ones on real text, or "
        "else the released ones); those below --runs can be chosen in the page",
    )
    parser.add_argument(
        "--runs",
        "--output-dir",
        metavar="DIR",
        default="outputs",
        help="folder of runs (default: outputs)",
    )
    parser.add_argument(
        "--port", type=int, default=PORT, help=f"0 takes one that is free (default: {PORT})"
    )
    parser.add_argument(
        "--corpus",
        metavar="FILE",
        help="documents in which words in context are searched (default: the toy corpus)",
    )
    base.add_column(parser)
    parser.add_argument(
        "--label-column", metavar="NAME", help="column of --corpus with the classes, for the map"
    )
    parser.add_argument(
        "--tensorboard",
        metavar="URL",
        default="http://localhost:6006/",
        help="where the page links to (default: http://localhost:6006/)",
    )
    parser.add_argument("--no-browser", action="store_true", help="open no browser")
    base.add_cache_dir(parser)
    base.add_device(parser)
    return parser
