"""The page: seconds from a question to its answer, for one visitor and for ten at once."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

from benchmarks import harness

DESCRIPTION = """\
Serves the page as `elmo page` does and asks it, over HTTP, what a browser asks: each tab about
sentences of 10 to 40 words. The models are those below --runs, the latest one first, side by side
as the page shows them; without runs they are the released ones."""

SENTENCE = (
    "The central bank of {0} raised its interest rates on Friday after oil prices climbed to a "
    "record , while shares of chip makers fell for a third day , traders in {1} said , and the "
    "government warned that growth would slow ."
)
PLACES = (
    "Toronto",
    "Paris",
    "Lisbon",
    "Seoul",
    "Vienna",
    "Prague",
    "Oslo",
    "Rome",
    "Sydney",
    "Kiel",
)
VISITORS = 10


class Question(NamedTuple):
    """A callback of the page: where its answer goes, and the values it is asked with."""

    place: str
    inputs: dict[str, Any]  # by "id.property"
    state: dict[str, Any]

    def ask(self, address: str) -> float:
        """Ask the page; return the seconds until the whole answer is there."""
        target, name = self.place, "children"
        body = {
            "output": f"{target}.{name}",
            "outputs": {"id": target, "property": name},
            "inputs": [_value(*item) for item in self.inputs.items()],
            "state": [_value(*item) for item in self.state.items()],
            "changedPropIds": [list(self.inputs)[1]],
        }
        request = urllib.request.Request(
            f"{address}/_dash-update-component",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        start = time.perf_counter()
        with urllib.request.urlopen(request) as response:
            answer = response.read().decode()
        seconds = time.perf_counter() - start
        if '"alert"' in answer:
            raise RuntimeError(f"the page refused the question: {answer[:300]}")
        return seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = harness.arguments("page", DESCRIPTION)
    parser.add_argument("--runs", type=Path, default=Path("outputs"), metavar="DIR")
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="questions per tab")
    args = parser.parse_args(arguments)
    rows = answer_times(args.runs, args.rounds)
    harness.report("page", args.output, {"rounds": args.rounds}, {"answers": rows})


def answer_times(runs: Path, rounds: int) -> list[harness.Row]:
    """Time the answers of each tab, alone and to ten visitors at once."""
    import torch

    from elmo.page.app import create_app, create_server
    from elmo.page.found_runs import find_runs
    from elmo.page.models import Models, side_by_side
    from elmo.page.texts import SearchedTexts

    models = Models([], runs, torch.device("cpu"), SearchedTexts())
    models.warm_up()
    found = find_runs(runs).runs
    keys = [offer.key for offer in side_by_side(models.classifiers(found))]
    app = create_app(models, runs, ".cache", "")
    listener = socket.create_server(("127.0.0.1", 0))
    server = create_server(app, listener)
    threading.Thread(target=server.run, daemon=True).start()
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    language_model, encoder = models.bilms(found)[0].key, models.encoders(found)[0].key
    rows: list[harness.Row] = []
    for tab in ("classify", "layers", "language model"):
        questions = [
            _question(tab, SENTENCE.format(place, PLACES[-index]), keys, language_model, encoder)
            for index, place in enumerate(PLACES)
        ]
        questions[0].ask(address)
        alone = [questions[n % VISITORS].ask(address) for n in range(rounds)]
        with ThreadPoolExecutor(VISITORS) as visitors:
            together = [
                seconds
                for _ in range(max(1, rounds // VISITORS))
                for seconds in visitors.map(lambda question: question.ask(address), questions)
            ]
        rows.append(
            {
                "tab": tab,
                "models": len(keys) if tab == "classify" else 1,
                "median ms": 1000 * median(alone),
                "95th percentile ms": 1000 * quantiles(alone, n=20)[-1],
                "ten at once, median ms": 1000 * median(together),
            }
        )
    server.close()
    return rows


def _question(tab: str, text: str, keys: list[str], language_model: str, encoder: str) -> Question:
    clicked = 1
    if tab == "classify":
        inputs = {"tab.data": tab, "classify-go.n_clicks": clicked, "classify-example.value": None}
        state = {"classify-text.value": text, "classify-models.value": keys}
        return Question("classify-answer", inputs, state)
    if tab == "layers":
        inputs = {
            "tab.data": tab,
            "layers-go.n_clicks": clicked,
            "layers-pair.value": "bank",
            "layers-model.value": encoder,
        }
        state = {
            "layers-word.value": "bank",
            "layers-a.value": text,
            "layers-b.value": "Voters crossed to the west bank of the river.",
        }
        return Question("layers-answer", inputs, state)
    inputs = {
        "lm-answer.children": None,
        "lm-gap.value": 4,
        "lm-model.value": language_model,
    }
    return Question("lm-gap-answer", inputs, {"lm-text.value": text, "tab.data": "language-model"})


def _value(name: str, value: Any) -> dict[str, Any]:
    component, property_ = name.split(".")
    return {"id": component, "property": property_, "value": value}


if __name__ == "__main__":
    main()
