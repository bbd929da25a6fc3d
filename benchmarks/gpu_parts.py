"""What the parts of the GPU benchmark share: their options, their measurements, their failures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

from benchmarks import harness
from benchmarks.place import Place, is_out_of_memory

Named = tuple[str, harness.Row]  # the title of a table, and a row of it
ROWS = 20_000  # of toy news
TEXT = 400  # characters of an error that are kept


class Options(NamedTuple):
    """The options of the command.

    Attributes:
        device: as PyTorch names it.
        widths: H = E of the models.
        precisions: see `Place`.
        seconds: of a measurement, after its warm-up.
        texts: that are embedded and classified.
        largest: token budget at which the search for the largest batch ends.
    """

    device: str
    widths: tuple[int, ...]
    precisions: tuple[str, ...]
    seconds: float
    texts: int
    largest: int

    def of_experiment(self) -> Place:
        """Return the place in which `experiment=gpu` trains: bf16 where the device has it."""
        return self._place("bf16")

    def of_commands(self) -> Place:
        """Return the place of `elmo embed`: by default PyTorch uses TF32 in cuDNN's LSTMs."""
        return self._place("tf32")

    def _place(self, precision: str) -> Place:
        """Return this precision if it is asked for and the device has it, otherwise fp32."""
        place = Place(self.device, precision)
        usable = precision in self.precisions and place.missing() is None
        return place if usable else Place(self.device, "fp32")


def overrides(place: Place) -> tuple[str, ...]:
    """Return the settings of `experiment=gpu` in this place.

    Toy news has more rows than by default, so that an epoch has more than a few such batches.
    """
    rows = () if os.environ.get("AG_NEWS_DIR") else ("data=toy", f"data.rows={ROWS}")
    return (*rows, "experiment=gpu", *place.overrides())


class EnoughError(Exception):
    """A peer has had all its turns."""


def collect(peer: harness.Peer, args: tuple, seconds: float) -> list[dict[str, Any]]:
    """Run a peer in this process; return the results of its turns, but for the first, a warm-up.

    Args:
        peer, args: see `benchmarks.harness.in_turn`.
        seconds: after which it ends, with the turn that it is in.
    """
    results: list[dict[str, Any]] = []
    calls, began = 0, 0.0

    def turn(result: Any) -> None:
        nonlocal calls, began
        calls += 1
        if calls == 2:  # the first call gives no result, the second that of the warm-up
            began = perf_counter()
        elif calls > 2:
            results.append(result)
            if perf_counter() - began >= seconds:
                raise EnoughError

    try:
        peer(turn, *args)
    except EnoughError:
        return results
    raise RuntimeError("the peer ended before its time")


def speed(peer: harness.Peer, args: tuple, seconds: float) -> dict[str, float]:
    """Return tokens per second, and what else a peer reports, as medians over its turns."""
    turns = collect(peer, args, seconds)

    def middle(name: str, factor: float = 1.0) -> float:
        return median(factor * turn[name] for turn in turns)

    row = {"tokens/s": middle("tokens/s")}
    if "steps" in turns[0]:
        row["step (ms)"] = median(1000 * turn["seconds"] / turn["steps"] for turn in turns)
    if "share" in turns[0]:
        row["share of the limit"] = middle("share")
        row["limit TFLOP/s"] = middle("limit FLOP/s", 1e-12)
    return row


def attempt(
    place: Place, work: Callable[[], dict[str, Any]], memory: bool = True
) -> dict[str, Any]:
    """Return the row that `work` makes in a place, or why it does not.

    Args:
        memory: add the peak of the memory of this process on the device.
    """
    if (reason := place.missing()) is not None:
        return {"skipped": reason}
    place.start_afresh()
    try:
        with place.active():
            row = work()
    except (Exception, SystemExit) as error:  # a script that fails ends by the latter
        if is_out_of_memory(error):
            return {"skipped": "out of memory"}
        return {"failed": in_words(error)}
    peak = place.peak_mebibytes() if memory else None
    return row if peak is None else {**row, "peak MiB": peak}


def in_words(error: BaseException) -> str:
    """Return the type and the text of an error; of a long one the beginning and the end."""
    text = f"{type(error).__name__}: {error}".strip()
    return text if len(text) <= TEXT else f"{text[: TEXT // 2]} ... {text[-TEXT // 2 :]}"


def against_textbook(rows: dict[str, dict[str, Any]]) -> Iterator[harness.Row]:
    """Yield the row of each peer, with its speed as a multiple of that of the peer `textbook`."""
    base = rows["textbook"].get("tokens/s")
    for peer, row in rows.items():
        times = {"times the textbook": row["tokens/s"] / base} if base and "tokens/s" in row else {}
        yield {"peer": peer, **row, **times}
