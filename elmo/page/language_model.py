"""The tab Language model: what is expected at every gap, what surprises, and generated text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

from dash import Dash, Input, Output, State, dcc, html
from dash.development.base_component import Component
from dash.exceptions import PreventUpdate

from elmo.errors import ConfigError, ElmoError
from elmo.inference.word_predictions import WordPredictions, predict_words
from elmo.models.generation import generate, join_words
from elmo.page import charts, parts
from elmo.page.models import Models
from elmo.runs.finished import FinishedRun

EXAMPLE = "Shares of the bank fell on Friday after it cut its profit forecast."
COUNT = 10  # words that are shown at a gap
MOST_BITS = 16  # of surprise, in the darkest colour
READINGS = {"forward": "the words before", "backward": "the words after", "mean": "either, mean"}
SIDES = {"forward": "after the text", "backward": "before it", "both": "on both sides"}
MOST_GENERATED = 60  # words of a text
MOST_TEXTS = 5


def layout(models: Models, runs: Sequence[FinishedRun]) -> list[Component]:
    """Return the controls of the tab and the places of its answers."""
    offers = models.bilms(runs)
    if not offers:
        return [parts.notice("No language model was trained yet; run `python train_lm.py`.")]
    return [
        html.P(
            "What the forward model expects after the words before a gap, and the backward model "
            "before the words after it; and how much each word surprises them, in bits."
        ),
        parts.field("Sentence", dcc.Textarea(id="lm-text", value=EXAMPLE, className="text")),
        parts.choice("Language model", offers, offers[0].key, "lm-model"),
        parts.radio("Surprise given", READINGS, "mean", "lm-reading"),
        parts.button("Read", "lm-go"),
        parts.place("lm-answer"),
        parts.field(
            "Gap",
            dcc.Slider(0, 14, 1, value=4, id="lm-gap", marks=None),
            "the number of words before it",
        ),
        parts.place("lm-gap-answer"),
        html.H2("Write"),
        html.Div(
            [
                parts.radio("Words are added", SIDES, "forward", "lm-side"),
                parts.field(
                    "Temperature",
                    dcc.Input(id="lm-temperature", type="number", value=0.8, min=0, step="any"),
                    "0 takes the most likely word, 1 follows the model",
                ),
                parts.field("Seed", dcc.Input(id="lm-seed", type="number", value=0, min=0, step=1)),
                parts.field(
                    "Words at most",
                    dcc.Input(
                        id="lm-words", type="number", value=20, min=1, max=MOST_GENERATED, step=1
                    ),
                ),
                parts.field(
                    "Texts",
                    dcc.Input(id="lm-count", type="number", value=3, min=1, max=MOST_TEXTS, step=1),
                ),
            ],
            className="row",
        ),
        parts.field("Start from", dcc.Input(id="lm-prompt", type="text", value="the bank")),
        parts.button("Write", "lm-write"),
        parts.place("lm-written"),
    ]


def register(app: Dash, models: Models) -> None:
    """Add the callbacks of the tab."""

    @app.callback(
        Output("lm-answer", "children"),
        Output("lm-gap", "max"),
        Input("tab", "data"),
        Input("lm-go", "n_clicks"),
        Input("lm-reading", "value"),
        Input("lm-model", "value"),
        State("lm-text", "value"),
    )
    def read(
        tab: str, clicks: int | None, reading: str, key: str, text: str
    ) -> tuple[parts.Children, int]:
        if tab != "language-model":
            raise PreventUpdate
        return surprise(models, key, text, reading), max(1, _length(models, key, text))

    @app.callback(
        Output("lm-gap-answer", "children"),
        Input("lm-answer", "children"),
        Input("lm-gap", "value"),
        Input("lm-model", "value"),
        State("lm-text", "value"),
        State("tab", "data"),
    )
    def look(read: object, gap: int | None, key: str, text: str, tab: str) -> parts.Children:
        if tab != "language-model":
            raise PreventUpdate
        return at_gap(models, key, text, gap)

    @app.callback(
        Output("lm-written", "children"),
        Input("lm-write", "n_clicks"),
        State("lm-model", "value"),
        State("lm-prompt", "value"),
        State("lm-side", "value"),
        State("lm-temperature", "value"),
        State("lm-seed", "value"),
        State("lm-words", "value"),
        State("lm-count", "value"),
        prevent_initial_call=True,
    )
    def write(clicks: int, *arguments: Any) -> parts.Children:
        return written(models, *arguments)


def _predictions(models: Models, key: str, text: str | None) -> WordPredictions:
    model = models.language_model(key)
    text = parts.checked_text(text, model.tokenizer, "the sentence")
    with models.lock:
        return predict_words(model, text, COUNT)


def _length(models: Models, key: str, text: str | None) -> int:
    """Return the number of words of a text; 0 where it cannot be used."""
    try:
        tokenizer = models.language_model(key).tokenizer
        (document,) = tokenizer.encode([parts.checked_text(text, tokenizer)])
    except ElmoError:
        return 0
    return len(document.words)


@parts.answering
def surprise(models: Models, key: str, text: str | None, reading: str) -> parts.Children:
    """Return the surprise of each word in colour and as a chart."""
    found = _predictions(models, key, text)
    forward, backward = found.forward[:-1], found.backward[1:]
    mean = [(one + other) / 2 for one, other in zip(forward, backward, strict=True)]
    bits = {"forward": forward, "backward": backward, "mean": mean}
    rows = zip(found.words, forward, backward, mean, strict=True)
    words = [
        f"{charts.cut(word)} (unknown)" if unknown else charts.cut(word)
        for word, unknown in zip(found.words, found.unknown, strict=True)
    ]
    return [
        parts.strip(
            words,
            [value / MOST_BITS for value in bits[reading]],
            [f"{value:.1f}" for value in bits[reading]],
            f"words and their surprise in bits, given {READINGS[reading]}",
        ),
        parts.note(
            f"Perplexity of the sentence: forward {found.perplexity('forward'):.1f}, backward "
            f"{found.perplexity('backward'):.1f}. Darker words surprise more. An unknown word is "
            "expected, and read, as <unk>."
        ),
        parts.chart(
            "surprise",
            charts.by_word(
                found.words, {"forward": forward, "backward": backward}, "surprise in bits"
            ),
            "Surprise of each word: -log2 of its probability given the words before (forward) or "
            "after it (backward)",
            ["word", "forward", "backward", "mean"],
            [[word, *(f"{value:.3f}" for value in values)] for word, *values in rows],
        ),
    ]


@parts.answering
def at_gap(models: Models, key: str, text: str | None, gap: int | None) -> parts.Children:
    """Return what both directions expect at a gap; nothing where the sentence is refused.

    Args:
        gap: the number of words before it; None where the field is empty.

    Raises:
        ConfigError: there is no number.
    """
    try:
        found = _predictions(models, key, text)
    except ElmoError:
        return []  # the answer above tells why
    if gap is None:
        raise ConfigError(f"gap: expected a number from 0 to {len(found.words)}")
    gap = min(gap, len(found.words))
    words = [charts.cut(word) for word in found.words]
    # As the vocabulary has them: a capital or an unknown word is not what was expected.
    tokenizer = models.language_model(key).tokenizer
    (document,) = tokenizer.encode([parts.checked_text(text, tokenizer)])
    names = [tokenizer.words[i] for i in document.ids]
    made = []
    for direction, expected, actual, bits in (
        ("forward", found.gaps[gap].forward, names[gap + 1], found.forward[gap]),
        ("backward", found.gaps[gap].backward, names[gap], found.backward[gap]),
    ):
        which = "next" if direction == "forward" else "previous"
        made.append(
            parts.chart(
                f"{direction}{gap}",
                charts.expectations(
                    [word for word, _ in expected], [p for _, p in expected], actual
                ),
                f"The {which} word by the {direction} model; there is “{actual}”, p = "
                f"{2**-bits:.2g}",
                ["word", "probability"],
                [[word, f"{p:.5f}"] for word, p in expected],
            )
        )
    return [
        html.P(
            [
                " ".join(words[:gap]),
                html.Span(" ▮ ", className="gap", title="the gap"),
                " ".join(words[gap:]),
            ],
            className="sentence",
            dir="auto",
        ),
        html.Div(made, className="pair"),
    ]


@parts.answering
def written(
    models: Models,
    key: str,
    prompt: str | None,
    side: Literal["forward", "backward", "both"],
    temperature: float,
    seed: int,
    words: int,
    count: int,
) -> parts.Children:
    """Return texts that the language model writes.

    Args:
        side: a key of `SIDES`.
        temperature, seed, words, count: None where the field is empty or holds no number in range.

    Raises:
        ConfigError: a number is missing or out of range.
    """
    ranges = {
        "temperature": (temperature, 0, 100),
        "seed": (seed, 0, 2**53),
        "words at most": (words, 1, MOST_GENERATED),
        "texts": (count, 1, MOST_TEXTS),
    }
    for name, (value, least, most) in ranges.items():
        if value is None or not least <= value <= most:
            raise ConfigError(f"{name}: expected a number from {least} to {most:,}")
    model = models.language_model(key)
    if (prompt or "").strip():
        parts.checked_text(prompt, model.tokenizer, "the start")
    write = partial(generate, model, temperature=temperature, seed=seed, max_words=words)
    with models.lock:
        if side == "both":
            forward = write(prompt or "", "forward", count=count)
            texts = [write(" ".join(text), "backward", count=1)[0] for text in forward]
        else:
            texts = write(prompt or "", side, count=count)
    return [
        html.Ol([html.Li(join_words(text), dir="auto") for text in texts], className="written"),
        parts.exports("written", ["text"], [[join_words(text)] for text in texts]),
    ]
