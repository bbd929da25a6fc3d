"""The tab Layers: one word in two sentences, layer by layer, and its occurrences on a map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from dash import Dash, Input, Output, State, ctx, dcc, html
from dash.development.base_component import Component
from dash.exceptions import PreventUpdate

from elmo.data.text import WordTokenizer
from elmo.errors import ConfigError
from elmo.inference.context_index import ContextIndex
from elmo.inference.neighbours import Neighbour, NeighbourSearch, marked_word
from elmo.inference.occurrences import principal_plane
from elmo.page import charts, parts
from elmo.page.models import Models
from elmo.runs.finished import FinishedRun

PAIRS = {
    "bank": (
        "The bank raised its interest rates.",
        "Voters crossed to the west bank of the river.",
    ),
    "pitch": ("The coach limped off the pitch.", "The pitch of whale songs has changed."),
    "star": ("The star striker missed the match.", "They measured the heat of a dying star."),
    "court": ("A bankruptcy court let the chain sell.", "The top seed walked off the court."),
    "strike": ("An air strike hit an army base.", "The pitcher threw a strike to third base."),
    "virus": ("A bird virus closed the border.", "A computer virus spreads by e-mail."),
    "window": ("Stores filled every shop window.", "The transfer window shut on Friday."),
    "apple": ("Apple juice prices sank.", "Apple showed an operating system."),
}
COUNT = 5  # neighbours in a layer
AROUND = 4  # words that are shown on each side of a neighbour
ON_THE_MAP = 300  # occurrences


def layout(models: Models, runs: Sequence[FinishedRun]) -> list[Component]:
    """Return the controls of the tab and the place of its answer."""
    offers = models.encoders(runs)
    if not offers:
        return [parts.notice("No language model was trained yet; run `python train_lm.py`.")]
    first, second = PAIRS["bank"]
    return [
        html.P(
            "Layer 0 has one vector for a word; the layers above change it with its sentence. "
            f"Neighbours and map are of {models.texts.name}."
        ),
        parts.field(
            "A word of two senses",
            dcc.Dropdown(list(PAIRS), "bank", id="layers-pair", clearable=False),
        ),
        html.Div(
            [
                parts.field("Word", dcc.Input(id="layers-word", type="text", value="bank")),
                parts.field("Sentence A", dcc.Input(id="layers-a", type="text", value=first)),
                parts.field("Sentence B", dcc.Input(id="layers-b", type="text", value=second)),
            ],
            className="row wide",
        ),
        parts.choice("Model", offers, offers[0].key, "layers-model"),
        parts.button("Compare", "layers-go"),
        parts.place("layers-answer"),
    ]


def register(app: Dash, models: Models) -> None:
    """Add the callbacks of the tab."""

    @app.callback(
        Output("layers-word", "value"),
        Output("layers-a", "value"),
        Output("layers-b", "value"),
        Input("layers-pair", "value"),
        prevent_initial_call=True,
    )
    def pick(word: str) -> tuple[str, str, str]:
        return word, *PAIRS[word]

    @app.callback(
        Output("layers-answer", "children"),
        Input("tab", "data"),
        Input("layers-go", "n_clicks"),
        Input("layers-pair", "value"),
        Input("layers-model", "value"),
        State("layers-word", "value"),
        State("layers-a", "value"),
        State("layers-b", "value"),
    )
    def compare(
        tab: str, clicks: int | None, pair: str, key: str, word: str, first: str, second: str
    ) -> parts.Children:
        if tab != "layers":
            raise PreventUpdate
        if ctx.triggered_id == "layers-pair":
            word, (first, second) = pair, PAIRS[pair]
        return answer(models, key, word, first, second)


@parts.answering
def answer(
    models: Models, key: str, word: str | None, first: str | None, second: str | None
) -> parts.Children:
    """Return what the layers of an encoder make of a word in two sentences.

    Raises:
        ElmoError: a sentence, the word or the encoder cannot be used; `answering` shows it.
    """
    encoder = models.encoder(key)
    sentences = {}
    for name, text in (("A", first), ("B", second)):
        sentences[name] = _place(text, word, encoder.tokenizer, f"sentence {name}")
    index = models.index(key)
    searches = {}
    with models.lock:
        for name, (text, position) in sentences.items():
            searches[name] = NeighbourSearch(encoder, text, position, COUNT)
            index.search(searches[name])
    cosines = (searches["A"].query * searches["B"].query).sum(1).tolist()  # (L,)
    layers = [f"layer {layer}" for layer in range(len(cosines))]
    words = {
        name: encoder.tokenizer.encode([text])[0].words[position]
        for name, (text, position) in sentences.items()
    }
    return [
        parts.chart(
            "similarity",
            charts.by_layer(cosines),
            f"How alike “{charts.cut(words['A'])}” of sentence A and “{charts.cut(words['B'])}” of "
            "sentence B are in each layer",
            ["layer", "cosine"],
            [[layer, f"{value:.4f}"] for layer, value in zip(layers, cosines, strict=True)],
        ),
        html.Div(
            [_neighbours(name, search, layers) for name, search in searches.items()],
            className="pair",
        ),
        _map(models, index, searches, words["A"]),
        parts.note(_read_so_far(models, index)),
    ]


def _place(
    text: str | None, word: str | None, tokenizer: WordTokenizer, what: str
) -> tuple[str, int]:
    """Return a sentence, and the position of the word in it: in brackets, or the first one."""
    text, word = text or "", (word or "").strip()
    if "[" in text and len(text) <= parts.MOST_CHARACTERS:
        marked = marked_word(text, tokenizer)
        return parts.checked_text(marked.text, tokenizer, what), marked.position
    text = parts.checked_text(text, tokenizer, what)
    if not word:
        raise ConfigError("type the word that both sentences have")
    (document,) = tokenizer.encode([text])
    lowered = [token.lower() for token in document.words]
    if word.lower() not in lowered:
        read = " ".join(map(charts.cut, document.words))
        raise ConfigError(
            f"{what} has no word {charts.cut(word)!r}; it is read as “{read}”. Put another "
            "word in brackets to compare that: The [shore] of the river"
        )
    return text, lowered.index(word.lower())


def _neighbours(name: str, search: NeighbourSearch, layers: Sequence[str]) -> html.Div:
    """Return a table of the nearest words, a column for each layer, and its export."""
    title = f"Nearest to the word of sentence {name}"
    columns = [[_cell(near, layer == 0) for near in best] for layer, best in enumerate(search.best)]
    count = max((len(column) for column in columns), default=0)
    rows = [
        [column[place] if place < len(column) else "" for column in columns]
        for place in range(count)
    ]
    exported = [
        [layer, near.word, f"{near.cosine:.5f}", "" if number == 0 else " ".join(near.tokens)]
        for number, (layer, best) in enumerate(zip(layers, search.best, strict=True))
        for near in best
    ]
    header = [f"{layer}, static" if n == 0 else layer for n, layer in enumerate(layers)]
    return html.Div(
        [
            parts.table(header, rows, title),
            parts.exports(f"neighbours{name}", ["layer", "word", "cosine", "context"], exported),
        ]
    )


def _cell(near: Neighbour, static: bool) -> list[Component | str]:
    number = html.Small(f" {near.cosine:.2f}")
    if static:
        return [html.Strong(charts.cut(near.word)), number]
    start = max(0, near.position - AROUND)
    tokens = [charts.cut(token) for token in near.tokens]
    before = " ".join(tokens[start : near.position])
    after = " ".join(tokens[near.position + 1 : near.position + 1 + AROUND])
    return [f"{before} ", html.Strong(tokens[near.position]), f" {after}", number]


def _map(
    models: Models, index: ContextIndex, searches: dict[str, NeighbourSearch], word: str
) -> Component:
    """Return the map of the occurrences of the word, or a line where there are too few."""
    places = index.occurrences(word)[:ON_THE_MAP]
    if len(places) < 3:
        return parts.note(
            f"No map: {len(places)} documents of {models.texts.name} have “{charts.cut(word)}”; 3 "
            "are needed."
        )
    queries = torch.stack([search.query.cpu() for search in searches.values()], 1)  # (L, 2, D)
    vectors = torch.cat([index.unit[:, torch.from_numpy(places)], queries], 1)  # (L, n + 2, D)
    points, shares = principal_plane(vectors)
    documents = index.document[places]
    senses = [models.texts.label(index.rows[document]) or "occurrence" for document in documents]
    texts = [index.texts[document] for document in documents]
    spots = points.numpy()
    rows = [
        [layer, index.rows[document], sense, f"{x:.4f}", f"{y:.4f}"]
        for layer in range(len(spots))
        for document, sense, (x, y) in zip(
            documents, senses, spots[layer, : len(places)], strict=True
        )
    ]
    return parts.chart(
        "map",
        charts.maps(
            spots[:, : len(places)],
            shares.numpy(),
            senses,
            [_wrapped(text) for text in texts],
            {name: spots[:, len(places) + n] for n, name in enumerate(searches)},
        ),
        f"Occurrences of “{charts.cut(word)}” by the class of their document; A and B are the "
        "sentences",
        ["layer", "document", "class", "x", "y"],
        rows,
    )


def _wrapped(text: str, width: int = 60) -> str:
    """Return a text in lines for the hover label of a chart, its markup shown as text."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] += f"{word} "
    return "<br>".join(
        line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for line in lines
    )


def _read_so_far(models: Models, index: ContextIndex) -> str:
    words = sum(map(len, index.tokens))
    read = f"{len(index.texts):,} documents of {models.texts.name}, {words:,} words, were searched"
    return read + ("." if index.is_complete and not models.texts.is_cut else "; there are more.")
