"""The tab Classify: classifiers side by side on one sentence, and what moves each decision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dash import Dash, Input, Output, State, ctx, dcc, html
from dash.development.base_component import Component
from dash.exceptions import PreventUpdate

from elmo.errors import ConfigError
from elmo.inference.explanation import DetailedExplanation, explain_side_by_side
from elmo.models.classifier import TextClassifier
from elmo.page import charts, parts
from elmo.page.models import Models, name_of, offer_of, side_by_side
from elmo.runs.finished import FinishedRun

EXAMPLES = [
    "The central bank raised interest rates on Friday after oil prices climbed to a record.",
    "The striker scored twice in the second half and sent the champions out of the cup.",
    "Rebels freed two hostages near the border, officials in the capital said.",
    "A worm that spreads by e-mail attacks a flaw in the operating system.",
    "Star chip makers pitch a faster drive to the court of public opinion.",
]
GATED = 1e-4  # gates that differ by less from word to word are lambdas


def layout(models: Models, runs: Sequence[FinishedRun]) -> list[Component]:
    """Return the controls of the tab and the place of its answer."""
    offers = models.classifiers(runs)
    if not offers:
        return [parts.notice("No classifier was trained yet; run `python train_cls.py`.")]
    return [
        html.P(
            "The class of a sentence by each classifier. A word is coloured by what leaving it "
            "out does: blue words speak for the class, orange ones against it."
        ),
        parts.field(
            "Sentence", dcc.Textarea(id="classify-text", value=EXAMPLES[0], className="text")
        ),
        parts.field(
            "Or pick one", dcc.Dropdown(EXAMPLES, id="classify-example", placeholder="examples")
        ),
        parts.choice(
            "Classifiers, side by side",
            offers,
            [offer.key for offer in side_by_side(offers)],
            "classify-models",
        ),
        parts.button("Classify", "classify-go"),
        parts.place("classify-answer"),
    ]


def register(app: Dash, models: Models) -> None:
    """Add the callbacks of the tab."""

    @app.callback(
        Output("classify-text", "value"),
        Input("classify-example", "value"),
        prevent_initial_call=True,
    )
    def pick(example: str | None) -> str:
        if not example:
            raise PreventUpdate
        return example

    @app.callback(
        Output("classify-answer", "children"),
        Input("tab", "data"),
        Input("classify-go", "n_clicks"),
        Input("classify-example", "value"),
        State("classify-text", "value"),
        State("classify-models", "value"),
    )
    def classify(
        tab: str, clicks: int | None, example: str | None, text: str, keys: list[str]
    ) -> parts.Children:
        if tab != "classify":
            raise PreventUpdate
        return answer(models, (example if ctx.triggered_id == "classify-example" else text), keys)


@parts.answering
def answer(models: Models, text: str | None, keys: Sequence[str] | None) -> parts.Children:
    """Return what the chosen classifiers say of a text.

    Raises:
        ElmoError: the text or a classifier cannot be used; `answering` shows it.
    """
    if not keys:
        raise ConfigError("choose one classifier or more")
    with models.lock:
        chosen = [models.classifier(key) for key in keys]
        for model in chosen:
            text = parts.checked_text(text, model.encoder.tokenizer, "the sentence")
        found = explain_side_by_side(chosen, text or "")
    names = _names(keys)
    return [
        _agreement(found),
        html.Div(
            [_card(*one, _is_odd(one[2], found)) for one in zip(names, chosen, found, strict=True)],
            className="cards",
        ),
        *_charts(names, found),
    ]


def _names(keys: Sequence[str]) -> list[str]:
    """Return the labels of classifiers; those that share one are told apart by their folders."""
    names = [name_of(offer_of(Path(key))) for key in keys]
    for tell_apart in (lambda key: Path(key).name, str):  # the whole path where folders are alike
        names = [
            name if names.count(name) == 1 else f"{name}, {tell_apart(key)}"
            for name, key in zip(names, keys, strict=True)
        ]
    return names


def _agreement(found: Sequence[DetailedExplanation]) -> html.P:
    classes = Counter(details.explanation.prediction.label for details in found)
    if len(found) == 1:
        return parts.note("One classifier.")
    if len(classes) == 1:
        return parts.note(f"All {len(found)} classifiers say {next(iter(classes))}.")
    shares = ", ".join(f"{count} say {name}" for name, count in classes.most_common())
    return parts.note(html.Strong("They disagree: "), f"{shares}.")


def _is_odd(details: DetailedExplanation, found: Sequence[DetailedExplanation]) -> bool:
    """Tell whether a classifier is not among the most that agree."""
    classes = Counter(other.explanation.prediction.label for other in found)
    return classes[details.explanation.prediction.label] < max(classes.values())


def _card(
    name: str, model: TextClassifier, details: DetailedExplanation, odd: bool
) -> html.Article:
    (predicted, probabilities), lambdas, words = details.explanation
    largest = max([0.05, *(abs(effect) for _, effect in words)])
    children: list[Component] = [
        html.H3(name),
        html.P(
            [html.Strong(predicted), html.Span("≠ differs", className="odd") if odd else ""],
            className="predicted",
        ),
        parts.bars(list(probabilities.items()), f"probabilities of the classes by {name}"),
        parts.strip(
            [charts.cut(word) for word, _ in words],
            [effect / largest for _, effect in words],
            [f"{e:+.2f}" if abs(e) >= parts.EFFECT_SHOWN else "·" for _, e in words],
            f"words and what leaving them out takes from {predicted}, by {name}",
        ),
    ]
    if len(lambdas) > 1:
        title = "mean weight of each layer" if _is_gated(details) else "lambdas"
        layers = [(f"layer {layer}", value) for layer, value in enumerate(lambdas)]
        children += [html.H4(title), parts.bars(layers, f"{title}, {name}")]
    if getattr(model.mixer, "projection_dim", None):
        children.append(
            parts.note("A matrix follows each layer, so these weights alone do not tell its use.")
        )
    return html.Article(children, className="card odd-one" if odd else "card")


def _is_gated(details: DetailedExplanation) -> bool:
    """Tell whether the weights of the layers differ from word to word."""
    gates = details.gates  # (L, W)
    return gates.shape[1] > 1 and bool((gates - gates[:, :1]).abs().max() > GATED)


def _charts(names: Sequence[str], found: Sequence[DetailedExplanation]) -> list[html.Figure]:
    """Return the chart of the effects, and one of the gates for each mixer that has them."""
    by_tokens: dict[tuple[str, ...], dict[str, list[float]]] = {}
    for name, details in zip(names, found, strict=True):
        words = tuple(word for word, _ in details.explanation.words)
        effects = [effect for _, effect in details.explanation.words]
        by_tokens.setdefault(words, {})[name] = effects
    made = []
    for number, (words, series) in enumerate(by_tokens.items()):
        made.append(
            parts.chart(
                f"effects{number or ''}",
                charts.by_word(words, series, "effect"),
                "Effect of each word: the probability of the class minus that without the word",
                ["word", *series],
                [[word, *(f"{v[i]:.4f}" for v in series.values())] for i, word in enumerate(words)],
            )
        )
    gated = [pair for pair in zip(names, found, strict=True) if _is_gated(pair[1])]
    for number, (name, details) in enumerate(gated):
        words = tuple(word for word, _ in details.explanation.words)
        layers = {f"layer {n}": gate for n, gate in enumerate(details.gates.tolist())}
        made.append(
            parts.chart(
                f"layers{number or ''}",
                charts.by_word(words, layers, "weight", stacked=True),
                f"Weight of each layer for each word: {name}",
                ["word", *layers],
                [[word, *(f"{v[i]:.4f}" for v in layers.values())] for i, word in enumerate(words)],
            )
        )
    return made
