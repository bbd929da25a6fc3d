"""The parts that all benchmarks share: settings, the machine, peers in turn, tables and JSON."""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parent.parent
LARGE_ON_CPU, LARGE_ON_GPU = (1024, 2048), (4096, 8192)  # sizes of the products of `limit`

Row = Mapping[str, Any]
Turn = Callable[[Any], None]
Peer = Callable[..., None]  # its arguments are a Turn, then its own


def arguments(name: str, description: str) -> argparse.ArgumentParser:
    """Return the parser of `python -m benchmarks.NAME`, with `-o`."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        default=Path("outputs/benchmarks") / f"{name}.json",
        help="JSON file for the figures (default: %(default)s)",
    )
    return parser


def add_precisions(parser: argparse.ArgumentParser) -> None:
    """Add `--precisions`: those of `benchmarks.place.Place` that a processor has."""
    parser.add_argument(
        "--precisions",
        nargs="+",
        choices=("fp32", "bf16"),
        default=["fp32"],
        help="of products (default: fp32)",
    )


def settings(job: str, *overrides: str) -> Any:
    """Return the settings of a job: on AG News if `AG_NEWS_DIR` is set, otherwise on toy news.

    Products are in single precision where no precision is named.
    """
    from hydra import compose, initialize_config_dir

    import elmo.runs.identity  # noqa: F401  # registers resolvers

    chosen = list(overrides)
    if not any(override.startswith("data=") for override in chosen):
        chosen.append("data=ag_news" if os.environ.get("AG_NEWS_DIR") else "data=toy")
    if not any(override.startswith("trainer.precision=") for override in chosen):
        chosen.append("trainer.precision=32-true")
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose(job, chosen)


def machine() -> dict[str, Any]:
    """Return processor, cores, threads, memory and versions, to be given with every figure."""
    import torch

    from elmo.runs.record import versions

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "versions": versions(),
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def limit(device: str = "cpu", dtype: Any = None) -> float:
    """Return the FLOP/s of the fastest large product on a device: what counts as 100 %.

    On a processor that of MKL (`torch.mm` in single precision) or of oneDNN, whichever is faster
    here; on a GPU that of `torch.mm`.

    Args:
        dtype: of the matrices; None for single precision.
    """
    import torch

    def onednn(left: Any, right: Any) -> Any:
        return torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], "")

    on_cpu = device == "cpu"
    products: list[Callable[[Any, Any], Any]] = [torch.mm]
    if on_cpu and torch.backends.mkldnn.is_available():
        products.append(onednn)
    return max(
        matrix_multiply_rate(size, device=device, dtype=dtype, product=product)
        for size in (LARGE_ON_CPU if on_cpu else LARGE_ON_GPU)
        for product in products
    )


def matrix_multiply_rate(
    size: int,
    repeats: int = 5,
    device: str = "cpu",
    dtype: Any = None,
    product: Callable[[Any, Any], Any] | None = None,
) -> float:
    """Measure the FLOP/s of a matrix product: the median of several calls.

    Args:
        size: rows and columns of both matrices.
        dtype: of the matrices; None for single precision.
        product: None for `torch.mm`.
    """
    import torch

    product = product or torch.mm
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    product(left, right)
    seconds = []
    for _ in range(repeats):
        if device != "cpu":
            torch.accelerator.synchronize(device)
        start = time.perf_counter()
        product(left, right)
        if device != "cpu":
            torch.accelerator.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / median(seconds)


def in_turn(
    peers: Mapping[str, tuple[Peer, tuple]], rounds: int, warmup: int = 1
) -> dict[str, list[Any]]:
    """Run each peer in its own process, one at a time: A B C A B C ...

    The machine's speed drifts, so each round has a turn of every peer. A peer prepares itself,
    calls `turn(None)`, works, calls `turn(result)`, works again; `turn` returns when it is the
    peer's turn.

    Args:
        peers: name -> function, and its arguments after `turn`.
        rounds: turns per peer that count.
        warmup: turns before them that do not count.

    Returns:
        The results of each peer.
    """
    context = spawning()
    results: dict[str, list[Any]] = {name: [] for name in peers}
    with contextlib.ExitStack() as stack:
        connections = {}
        for name, (function, args) in peers.items():
            ours, theirs = context.Pipe()
            process = context.Process(target=_peer, args=(theirs, function, args), daemon=True)
            process.start()
            theirs.close()
            stack.callback(process.kill)
            connections[name] = ours
            _receive(name, ours)
        for number in range(warmup + rounds):
            for name, connection in connections.items():
                connection.send(True)
                result = _receive(name, connection)
                if number >= warmup:
                    results[name].append(result)
    return results


def spawning() -> SpawnContext:
    """Return the context of processes that start afresh and are killed at the end."""
    # Without this, Python warns about what they left open.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
    return multiprocessing.get_context("spawn")


def _receive(name: str, connection: Connection) -> Any:
    try:
        return connection.recv()
    except EOFError:
        sys.exit(f"the peer {name!r} ended early; see its message above")


def _peer(connection: Connection, function: Peer, args: tuple) -> None:
    def turn(result: Any) -> None:
        connection.send(result)
        try:
            connection.recv()
        except EOFError:  # the benchmark has ended
            os._exit(0)

    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
        function(turn, *args)


def report(name: str, output: Path, facts: Row, tables: Mapping[str, Sequence[Row]]) -> None:
    """Print every table, and write the tables, the facts and the machine as JSON."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from elmo.utils.files import write_json

    facts = {**facts, "machine": machine()}
    console = Console(width=None if sys.stdout.isatty() else 160)
    for title, rows in tables.items():
        table = Table(title=title, title_justify="left")
        columns = list(dict.fromkeys(column for row in rows for column in row))
        for column in columns:
            table.add_column(column)
        for row in rows:
            table.add_row(*(Text(shown(row.get(column, ""))) for column in columns))
        console.print(table)
    console.print(Text(", ".join(f"{key} {shown(value)}" for key, value in _flat(facts))))
    write_json(output, {"benchmark": name, **facts, "tables": tables})
    console.print(f"wrote {output}", soft_wrap=True)


def _flat(facts: Row) -> Iterator[tuple[str, Any]]:
    for key, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield key, value


def shown(value: Any) -> str:
    """Return a value as tables show it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
