"""The tab Runs: a table to sort and pick from, curves, confusion matrices and their rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dash_ag_grid as dag
from dash import ALL, Dash, Input, Output, State, ctx, dcc, html
from dash.development.base_component import Component

from elmo.errors import ConfigError, DataError
from elmo.page import found_runs, parts, run_charts
from elmo.page.found_runs import Behind, FoundRuns
from elmo.runs.finished import FinishedRun

NUMBER = {"type": "rightAligned", "width": 122, "filter": "agNumberColumnFilter"}
COLUMNS: list[dict[str, Any]] = [
    {"field": "run", "width": 236, "pinned": "left", "filter": True},
    {"field": "seed", **NUMBER, "width": 80, "filter": False},
    {"field": "corpus", "width": 140, "filter": True},
    {"field": "val/perplexity", **NUMBER, "digits": 2},
    {"field": "test/perplexity", **NUMBER, "digits": 2},
    {"field": "val/accuracy", **NUMBER, "digits": 4},
    {"field": "test/accuracy", **NUMBER, "digits": 4},
    {"field": "test/f1", **NUMBER, "digits": 4},
    {"field": "lambdas", "width": 140},
    {"field": "seconds", **NUMBER, "digits": 0},
    {"field": "status", "width": 160, "filter": True},
    {"field": "folder", "width": 420, "filter": True},
]
FIRST_PICKED = 3  # runs, the best on validation
SPLITS = ("test", "validation", "train")
MOST_ROWS = 200  # behind a cell of a confusion matrix


def layout(output_dir: Path, tensorboard: str, found: FoundRuns) -> list[Component]:
    """Return the table of the runs and the places of what is shown of those that are picked."""
    children: list[Component] = [parts.notice(problem) for problem in found.problems]
    if not found.runs:
        return [*children, parts.notice(f"No finished run lies below {output_dir} yet.")]
    rows = found_runs.table(found)
    return [
        *children,
        html.P(
            [
                f"The runs below {output_dir}. Sort by a heading, tick runs to lay their curves "
                "over each other. Curves live: ",
                html.A("TensorBoard", href=tensorboard, target="_blank", rel="noopener"),
                ", once ",
                html.Code(f"tensorboard --logdir {output_dir}"),
                " runs.",
            ]
        ),
        dag.AgGrid(
            id="runs-table",
            columnDefs=[_column(column) for column in COLUMNS],
            rowData=rows,
            selectedRows=_first(rows),
            columnSize=None,
            style={"height": f"{min(480, 110 + 42 * len(rows))}px"},
            dashGridOptions={
                "rowSelection": {"mode": "multiRow", "enableClickSelection": False},
                "enableCellTextSelection": True,
                "selectionColumnDef": {"pinned": "left", "width": 46},
                "ensureDomOrder": True,  # for screen readers
                "suppressColumnVirtualisation": True,
            },
            csvExportParams={"fileName": "runs.csv"},
        ),
        html.Button("CSV", id="runs-csv", type="button", className="export-table"),
        html.Div(id="runs-links", className="answer"),
        html.H2("Curves"),
        parts.field("Curve", dcc.Dropdown([], id="runs-tag", clearable=False)),
        html.Div(id="runs-curves", className="answer"),
        html.H2("Confusion matrices"),
        parts.field("Split", dcc.RadioItems(list(SPLITS), "test", id="runs-split", inline=True)),
        html.Div(id="runs-confusions", className="pair"),
        html.P("Click a cell for the rows behind it, or name it here.", className="note"),
        html.Div(
            [
                parts.field("Run", dcc.Dropdown([], id="runs-cell-run", clearable=False)),
                parts.field("True class", dcc.Dropdown([], id="runs-cell-true")),
                parts.field("Predicted class", dcc.Dropdown([], id="runs-cell-predicted")),
                parts.field(
                    "Texts",
                    dcc.Checklist(["show"], [], id="runs-texts"),
                    "read from your data, where it is at hand",
                ),
            ],
            className="row",
        ),
        parts.place("runs-rows"),
        html.Div(_learning_curve(found.runs), id="runs-learning"),
    ]


def _column(column: dict[str, Any]) -> dict[str, Any]:
    """Return the definition of a column for the grid; `digits` becomes its format."""
    column = dict(column)
    if (digits := column.pop("digits", None)) is not None:
        shown = f"d3.format(',.{digits}f')(params.value)"
        column["valueFormatter"] = {"function": f"params.value == null ? '' : {shown}"}
    return {
        **column,
        "headerName": column["field"].replace("/", " "),
        "wrapHeaderText": True,
        "autoHeaderHeight": True,
        "resizable": True,
    }


def _first(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the classifiers that are best on validation, on the corpus that has most of them."""
    scored = [row for row in rows if row.get("val/accuracy") and not row.get("val/perplexity")]
    corpora = Counter(row["corpus"] for row in scored)
    scored.sort(key=lambda row: (-corpora[row["corpus"]], row["corpus"], -row["val/accuracy"]))
    return (scored or list(rows))[:FIRST_PICKED]


def _learning_curve(runs: Sequence[FinishedRun]) -> list[Component]:
    figure = run_charts.learning_curve(runs)
    return [html.H2("Learning curves"), figure] if figure is not None else []


def register(app: Dash, output_dir: Path, cache_dir: str) -> None:
    """Add the callbacks of the tab."""

    def picked(rows: Sequence[dict[str, Any]] | None) -> list[FinishedRun]:
        by_key = found_runs.find_runs(output_dir).by_key()
        return [by_key[row["key"]] for row in rows or [] if row["key"] in by_key]

    @app.callback(
        Output("runs-table", "exportDataAsCsv"),
        Input("runs-csv", "n_clicks"),
        prevent_initial_call=True,
    )
    def export(clicks: int) -> bool:
        return True

    @app.callback(
        Output("runs-links", "children"),
        Output("runs-tag", "options"),
        Output("runs-tag", "value"),
        Output("runs-cell-run", "options"),
        Output("runs-cell-run", "value"),
        Input("runs-table", "selectedRows"),
        State("runs-tag", "value"),
    )
    def pick(
        rows: list[dict[str, Any]] | None, tag: str | None
    ) -> tuple[Component, list[str], str | None, list[dict[str, str]], str | None]:
        runs = picked(rows)
        without = len(rows or []) - len(runs)
        titles = found_runs.titles(runs)
        tags = run_charts.curve_tags(runs)
        chosen = tag if tag in tags else next(iter(tags), None)
        with_cells = [
            {"label": titles[found_runs.key_of(run.folder)], "value": found_runs.key_of(run.folder)}
            for run in runs
            if any(found_runs.confusion(run, split) for split in SPLITS)
        ]
        first = with_cells[0]["value"] if with_cells else None
        return _links(runs, titles, without), tags, chosen, with_cells, first

    @app.callback(
        Output("runs-curves", "children"),
        Input("runs-table", "selectedRows"),
        Input("runs-tag", "value"),
    )
    def draw(rows: list[dict[str, Any]] | None, tag: str | None) -> parts.Children:
        return curves(picked(rows), tag)

    @app.callback(
        Output("runs-confusions", "children"),
        Input("runs-table", "selectedRows"),
        Input("runs-split", "value"),
    )
    def matrices(rows: list[dict[str, Any]] | None, split: str) -> list[Component]:
        runs = picked(rows)
        made = run_charts.confusions(runs, found_runs.titles(runs), split)
        return made or [parts.note("None of the ticked runs kept a confusion matrix.")]

    @app.callback(
        Output("runs-cell-true", "options"),
        Output("runs-cell-predicted", "options"),
        Output("runs-cell-true", "value"),
        Output("runs-cell-predicted", "value"),
        Output("runs-cell-run", "value", allow_duplicate=True),
        Input("runs-cell-run", "value"),
        Input({"type": "confusion", "run": ALL}, "clickData"),
        State("runs-split", "value"),
        State("runs-cell-true", "value"),
        State("runs-cell-predicted", "value"),
        prevent_initial_call=True,
    )
    def choose(
        key: str | None,
        clicks: list[dict[str, Any] | None],
        split: str,
        true: str | None,
        predicted: str | None,
    ) -> tuple[list[str], list[str], str | None, str | None, str | None]:
        if isinstance(ctx.triggered_id, dict) and ctx.triggered[0]["value"]:
            key = ctx.triggered_id["run"]
            (point,) = ctx.triggered[0]["value"]["points"]
            true, predicted = point["y"], point["x"]
        run = found_runs.find_runs(output_dir).by_key().get(key or "")
        found = found_runs.confusion(run, split) if run else None
        names = found[0] if found else []
        true, predicted = (name if name in names else None for name in (true, predicted))
        return names, names, true, predicted, key

    @app.callback(
        Output("runs-rows", "children"),
        Input("runs-cell-run", "value"),
        Input("runs-cell-true", "value"),
        Input("runs-cell-predicted", "value"),
        Input("runs-texts", "value"),
        Input("runs-split", "value"),
    )
    def show(
        key: str | None, true: str | None, predicted: str | None, texts: list[str], split: str
    ) -> parts.Children:
        if not (key and true and predicted):
            return []
        return behind(output_dir, cache_dir, key, split, true, predicted, bool(texts))


@parts.answering
def curves(runs: Sequence[FinishedRun], tag: str | None) -> parts.Children:
    """Return the curves of a scalar, None where no run has any, and of the lambdas.

    Raises:
        DataError: the curves of a run are damaged; `answering` shows it.
    """
    titles = found_runs.titles(runs)
    lambdas = run_charts.lambdas(runs, titles)
    if tag is None:
        return [parts.note("Tick runs that have curves.")]
    return [run_charts.curves(runs, titles, tag), *([lambdas] if lambdas is not None else [])]


@parts.answering
def behind(
    output_dir: Path, cache_dir: str, key: str, split: str, true: str, predicted: str, texts: bool
) -> parts.Children:
    """Return the rows behind a cell of a confusion matrix.

    Raises:
        ElmoError: the run or its predictions are gone; `answering` shows it.
    """
    run = found_runs.find_runs(output_dir).by_key().get(key)
    if run is None:
        raise ConfigError("this run is gone; load the page again")
    rows = found_runs.rows_behind(run, split, true, predicted)
    shown: list[Behind] = rows[:MOST_ROWS]
    problem = None
    if texts and shown:
        try:
            shown = found_runs.with_texts(run, split, shown, cache_dir)
        except DataError as error:
            problem = parts.notice(str(error))
    cells = [[row.row, f"{row.probability:.4f}", row.text or ""] for row in shown]
    width = 3 if any(row.text for row in shown) else 2
    header = ["row", f"p({predicted})", "text"][:width]
    title = f"{len(rows):,} {split} rows of {true} taken for {predicted}, the surest first"
    if len(rows) > len(shown):
        title += f"; the first {len(shown)}"
    body = [cell[:width] for cell in cells]
    name = f"rows-{split}-{true}-{predicted}".replace("/", "-")
    return [
        *([problem] if problem else []),
        parts.table(header, body, title),
        parts.exports(name, header, body),
    ]


def _links(runs: Sequence[FinishedRun], titles: dict[str, str], without: int) -> Component:
    """Return a link to the folder of each run.

    Args:
        without: how many of the ticked rows have no run.
    """
    if not runs and not without:
        return parts.note("No run is ticked.")
    lost = f"No run is behind {without} of the ticked rows: its job failed, or its folder is gone"
    items = []
    for run in runs:
        key = found_runs.key_of(run.folder)
        link = html.A(titles[key], href=f"/run/{quote(key)}/", target="_blank", rel="noopener")
        items.append(html.Li([link, " ", html.Code(str(found_runs.shown(run.folder)))]))
    folders = [html.H3("Run folders"), html.Ul(items)] if runs else []
    return html.Div([*([parts.notice(lost)] if without else []), *folders])
