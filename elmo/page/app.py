"""The page itself: its frame, its tabs, the files of runs, and what a browser may ask of it."""

from __future__ import annotations

import logging
import mimetypes
import os
import socket
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

import waitress
from dash import ClientsideFunction, Dash, Input, Output, dcc, html, set_props
from dash.development.base_component import Component
from flask import Response, abort, request, send_file

from elmo.page import classify, language_model, layers, parts, runs
from elmo.page.found_runs import find_runs
from elmo.page.models import Models

log = logging.getLogger(__name__)

TABS = {
    "classify": "Classify",
    "layers": "Layers",
    "language-model": "Language model",
    "runs": "Runs",
}
THREADS = 8  # answers prepared at once; models compute one at a time
HOSTS = {"127.0.0.1", "localhost"}  # what a browser may call the page
# The page asks for nothing but itself: the browser refuses the rest. Dash's start is inline, and
# so are the styles of charts; images are made in the browser for exports.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self' data: blob:; frame-ancestors 'none'; "
    "form-action 'none'; base-uri 'none'"
)
# Shown in the browser as they are; everything else is offered for download.
SHOWN = {".csv", ".json", ".log", ".md", ".pdf", ".png", ".yaml"}


def create_app(models: Models, output_dir: Path, cache_dir: str, tensorboard: str) -> Dash:
    """Return the page as an app, whose `server` is a WSGI application.

    Args:
        models: the models that it offers.
        output_dir: the folder of runs.
        cache_dir: the folder of prepared corpora, for the texts behind a cell.
        tensorboard: the address to which the page links.
    """
    app = Dash(
        "elmo",
        title="elmo page",
        assets_folder=str(Path(__file__).parent / "assets"),
        update_title="",
        on_error=_internal_error,
        suppress_callback_exceptions=True,
        compress=False,
    )
    app.layout = lambda: _frame(models, output_dir, tensorboard)
    app.clientside_callback(
        ClientsideFunction("page", "show"),
        Output("tab", "data"),
        Output("notice", "children"),
        Input("url", "pathname"),
    )
    classify.register(app, models)
    layers.register(app, models)
    language_model.register(app, models)
    runs.register(app, output_dir, cache_dir)
    _guard(app)
    _serve_files(app, output_dir)
    return app


def create_server(app: Dash, listener: socket.socket) -> waitress.server.BaseWSGIServer:
    """Return a server of the page, whose `run` ends with Ctrl-C or `close`.

    Args:
        app: what `create_app` returned.
        listener: a socket that listens.
    """
    # A browser keeps several connections open; that all threads are busy is no news.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    return waitress.create_server(app.server, sockets=[listener], threads=THREADS, ident=None)


def _frame(models: Models, output_dir: Path, tensorboard: str) -> Component:
    """Return the whole page; it is made anew at each visit, so that new runs are there."""
    found = find_runs(output_dir)
    contents: dict[str, Sequence[Component]] = {
        "classify": classify.layout(models, found.runs),
        "layers": layers.layout(models, found.runs),
        "language-model": language_model.layout(models, found.runs),
        "runs": runs.layout(output_dir, tensorboard, found),
    }
    return html.Div(
        [
            dcc.Location(id="url", refresh=False),
            dcc.Store(id="tab"),
            html.A("Skip to the content", href="#content", className="skip"),
            html.Header(
                [
                    html.H1("elmo"),
                    html.Nav(
                        [
                            dcc.Link(title, href=f"/{name}", id=f"tab-{name}")
                            for name, title in TABS.items()
                        ],
                        **parts.aria(label="tabs"),
                    ),
                ]
            ),
            html.Div(id="notice", className="notice", role="alert"),
            html.Main(
                [
                    html.Section(
                        [html.H2(TABS[name], className="tab-title"), *children],
                        id=f"panel-{name}",
                        hidden=True,
                        **parts.aria(label=TABS[name]),
                    )
                    for name, children in contents.items()
                ],
                id="content",
                tabIndex=-1,
            ),
            html.Footer("Served to this machine alone; nothing is asked from outside."),
        ]
    )


def _internal_error(error: Exception) -> None:
    """Show that an answer failed because of a fault of the page, and log it."""
    log.error("the page could not answer", exc_info=error)
    line = f"The page failed to answer ({type(error).__name__}); the terminal has the details."
    set_props("notice", {"children": line})


def _guard(app: Dash) -> None:
    """Answer this machine alone, and let a browser ask for nothing from elsewhere."""

    @app.server.before_request
    def check_host() -> None:
        # A site whose name is made to point here must not read the page from a browser.
        if request.host.rsplit(":", 1)[0] not in HOSTS:
            abort(403)

    @app.server.after_request
    def add_headers(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response


def _serve_files(app: Dash, output_dir: Path) -> None:
    """Serve the folders of runs, to read."""

    @app.server.get("/run/<key>/", defaults={"path": ""})
    @app.server.get("/run/<key>/<path:path>")
    def run_file(key: str, path: str) -> Response | str:
        run = find_runs(output_dir).by_key().get(key) or abort(404)
        root = run.folder.resolve()
        # Unlike pathlib's, this takes any address: one too long for a file names none.
        if not os.path.exists(root / path):
            abort(404)
        wanted = (root / path).resolve()
        if not wanted.is_relative_to(root):
            abort(404)
        if wanted.is_dir():
            return _listing(wanted, wanted == root)
        kind = mimetypes.guess_type(wanted.name)[0] if wanted.suffix in SHOWN else None
        text = kind is None or kind.startswith("text/") or wanted.suffix in {".json", ".yaml"}
        return send_file(
            wanted,
            mimetype="text/plain" if text and wanted.suffix in SHOWN else kind,
            as_attachment=wanted.suffix not in SHOWN,
        )


def _listing(folder: Path, is_root: bool) -> str:
    """Return a folder as a list of links."""
    entries = sorted(folder.iterdir(), key=lambda entry: (entry.is_file(), entry.name))
    items = [] if is_root else ['<li><a href="../">..</a></li>']
    for entry in entries:
        name = entry.name + ("/" if entry.is_dir() else "")
        items.append(f'<li><a href="{escape(quote(name))}">{escape(name)}</a></li>')
    title = escape(folder.name)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        '<meta name="color-scheme" content="light dark"><body style="font-family: system-ui">'
        f"<h1>{title}</h1><ul>{''.join(items)}</ul></body></html>"
    )
