"""The parts that the tabs share: labelled controls, notices, words in colour, charts, exports."""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from dash import dcc, html
from dash.development.base_component import Component

from elmo.data.text import WordTokenizer, clean
from elmo.errors import ConfigError, ElmoError
from elmo.page.models import Offer

MOST_CHARACTERS = 20_000
MOST_WORDS = 200  # of a text; AG News has at most 177
TABLE_ROWS = 80  # a chart of more numbers has them in its CSV file alone
EFFECT_SHOWN = 0.005

Children = Component | str | list[Any]


def aria(**names: str) -> dict[str, Any]:
    """Return ARIA attributes, for screen readers: `aria(label="x")` is `aria-label="x"`."""
    return {f"aria-{name}": value for name, value in names.items()}


def place(place_id: str) -> dcc.Loading:
    """Return where an answer goes, read out when it changes; one that takes long shows a sign."""
    content = html.Div(id=place_id, className="answer", **aria(live="polite"))
    return dcc.Loading(content, delay_show=400)


def field(title: str, control: Component, hint: str = "") -> html.Div:
    """Return a control with its title, which screen readers read as the name of the group."""
    # Dash's controls take no ARIA attributes; the group around them does.
    title_id = f"{control.to_plotly_json()['props']['id']}-title"
    children: list[Component] = [html.Span(title, id=title_id, className="title"), control]
    if hint:
        children.append(html.Small(hint))
    return html.Div(children, className="field", role="group", **aria(labelledby=title_id))


def choice(
    title: str, offers: Sequence[Offer], chosen: str | list[str], choice_id: str
) -> html.Div:
    """Return a list of models to choose from: several of them where `chosen` is a list."""
    options = [{"label": offer.title, "value": offer.key} for offer in offers]
    several = isinstance(chosen, list)
    control = dcc.Dropdown(options, chosen, id=choice_id, multi=several, clearable=several)
    return field(title, control)


def radio(title: str, names: Mapping[str, str], chosen: str, radio_id: str) -> html.Div:
    """Return a choice of one of a few things, by their names."""
    options = [{"label": name, "value": key} for key, name in names.items()]
    return field(title, dcc.RadioItems(options, chosen, id=radio_id, inline=True))


def button(title: str, button_id: str) -> html.Button:
    """Return the button that asks the page."""
    return html.Button(title, id=button_id, type="button", className="go")


def notice(text: str) -> html.Div:
    """Return a line that tells what went wrong, read out at once."""
    return html.Div(text, className="notice", role="alert")


def note(*children: Any) -> html.P:
    """Return a line of explanation."""
    return html.P(list(children), className="note")


def answering(function: Callable[..., Children]) -> Callable[..., Children]:
    """Let a function of the page answer a user's mistake with one line."""

    @functools.wraps(function)
    def answer(*arguments: Any) -> Children:
        try:
            return function(*arguments)
        except ElmoError as error:
            return notice(str(error))

    return answer


def checked_text(text: str | None, tokenizer: WordTokenizer, what: str = "the text") -> str:
    """Return a text, cleaned.

    Raises:
        ConfigError: it is empty, or longer than the page takes.
    """
    text = text or ""
    if len(text) > MOST_CHARACTERS:
        raise ConfigError(
            f"{what} has {len(text):,} characters; the page takes {MOST_CHARACTERS:,} at most. "
            "The commands take texts of any length: elmo predict --file FILE"
        )
    text = clean(text)
    (document,) = tokenizer.encode([text])
    if len(document.words) > MOST_WORDS:
        raise ConfigError(
            f"{what} has {len(document.words):,} words; the page takes {MOST_WORDS} at most. "
            "The commands take texts of any length: elmo predict --file FILE"
        )
    if not document.words:
        raise ConfigError(f"{what} has no words; type some")
    return text


def strip(
    words: Sequence[str], strengths: Sequence[float], values: Sequence[str], title: str
) -> html.Ol:
    """Return words in colour, each with its value below it.

    Args:
        words: in reading order.
        strengths: from -1 (orange) over 0 (none) to 1 (blue).
        values: what stands below each word.
        title: the name of the list for screen readers.
    """
    return html.Ol(
        [
            html.Li(
                [html.Span(word), html.Small(value)],
                className="for" if strength >= 0 else "against",
                style={"--strength": f"{min(1, abs(strength)):.2f}"},
            )
            for word, strength, value in zip(words, strengths, values, strict=True)
        ],
        className="strip",
        dir="auto",
        **aria(label=title),
    )


def bars(values: Sequence[tuple[str, float]], title: str) -> html.Ul:
    """Return shares between 0 and 1 as bars with their names and numbers."""
    return html.Ul(
        [
            html.Li(
                [html.Span(name), html.Span(f"{value:.3f}", className="number")],
                style={"--share": f"{100 * value:.1f}%"},
            )
            for name, value in values
        ],
        className="bars",
        **aria(label=title),
    )


def table(header: Sequence[str], rows: Sequence[Sequence[Any]], title: str) -> html.Div:
    """Return a small table; wide ones scroll inside their own box."""
    head = html.Thead(html.Tr([html.Th(name, scope="col") for name in header]))
    body = html.Tbody([html.Tr([html.Td(cell) for cell in row]) for row in rows])
    return html.Div(html.Table([html.Caption(title), head, body]), className="scroll", tabIndex=0)


def chart(
    name: str,
    figure: go.Figure,
    caption: str,
    header: Sequence[str],
    rows: Sequence[Sequence[Any]],
    graph_id: Any = None,
) -> html.Figure:
    """Return a chart with its caption, its numbers, and buttons that export both.

    Args:
        name: of the exported files, without their ending.
        figure: the chart.
        caption: says what it shows; its name for screen readers.
        header, rows: the numbers of the chart.
        graph_id: its id, for a chart whose clicks are answered.
    """
    options = {} if graph_id is None else {"id": graph_id}
    graph = dcc.Graph(figure=figure, responsive=True, config={"displayModeBar": False}, **options)
    height = f"{figure.layout.height}px"
    children: list[Component] = [
        html.Figcaption(caption),
        html.Div(graph, role="img", style={"height": height}, **aria(label=caption)),
        exports(name, header, rows, pictures=True),
    ]
    if len(rows) <= TABLE_ROWS:
        children.append(html.Details([html.Summary("Numbers"), table(header, rows, caption)]))
    return html.Figure(children, className="chart")


def exports(
    name: str, header: Sequence[str], rows: Sequence[Sequence[Any]], pictures: bool = False
) -> html.Div:
    """Return buttons that save numbers as CSV, and the chart they stand below as SVG and PNG."""
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    buttons = []
    for kind in ["svg", "png", "csv"] if pictures else ["csv"]:
        data = {"data-name": name, "data-format": kind}
        if kind == "csv":
            data["data-csv"] = text.getvalue()
        attributes: dict[str, Any] = {**data, "title": f"Save as {name}.{kind}"}
        buttons.append(html.Button(kind.upper(), type="button", className="export", **attributes))
    return html.Div(buttons, className="exports")
