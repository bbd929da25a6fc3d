"""The GPU benchmark at a tiny size, on the processor: every part, its failures and its budget."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks import gpu, gpu_runs, gpu_training, gpu_use, harness, lm_training
from benchmarks.gpu_parts import Named, Options, attempt, collect
from benchmarks.models import Textbook, TextbookClassifier, mirrored_pair
from benchmarks.parts import MARK, REST, seconds_in_cudnn, shares_of_parts
from benchmarks.place import Place
from benchmarks.turns import Meter
from conftest import TINY, TINY_CLS, TINY_LM, error_line, run_here
from elmo.data.batches import Batch, pad
from elmo.evaluation import outputs

CPU = Place()
OPTIONS = Options("cpu", (8,), ("fp32", "tf32"), seconds=0.0, texts=16, largest=4096)
LAST = ("datamodule.token_budget=1024", "evaluate_test=false")
ARGUMENTS = (
    *("--device", "cpu", "--widths", "8", "--precisions", "fp32", "tf32"),
    *("--seconds", "0", "--texts", "16", "--largest", "4096"),
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, cache_dir: Path) -> None:
    """Run parts in this process, on the toy corpus of the other tests."""
    settings_of = harness.settings

    @cache
    def settings(job: str, *overrides: str) -> Any:
        toy = [item for item in TINY if item.startswith("data")]
        last = ("datamodule.token_budget=1024", f"cache_dir={cache_dir}")
        return settings_of(job, *overrides, *toy, *last)

    def rows_of(part: str, options: Options, seconds: float) -> Iterator[Named]:
        module, _, name = part.partition(":")
        yield from getattr(importlib.import_module(module), name)(options)

    def run(script: str, *overrides: str, code: int = 0) -> float:
        tiny = () if "resume" in overrides[0] else TINY_LM if script == "train_lm" else TINY_CLS
        last = () if "resume" in overrides[0] else LAST
        finished = run_here([str(harness.ROOT / f"{script}.py"), *tiny, *overrides, *last])
        assert finished.code == code, finished.stderr
        return 1.0

    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # set by a part, and left so in its process
    monkeypatch.setattr(harness, "settings", settings)
    monkeypatch.setattr(harness, "limit", lambda *_: 1e9)
    monkeypatch.setattr("elmo.utils.memory.keep_freed_memory", lambda: None)
    # Most of a tiny job is drawing, and nothing here looks at its pictures.
    monkeypatch.setattr(outputs.Writer, "figure", lambda *_: None)
    monkeypatch.setattr(gpu, "rows_of", rows_of)
    monkeypatch.setattr(gpu_runs, "run", run)
    monkeypatch.setattr(gpu_runs, "STEP", 3)
    monkeypatch.setattr(gpu_training, "STEPS", 2)
    monkeypatch.setattr(gpu_use, "STEPS", 1)
    monkeypatch.setattr(lm_training, "STEPS", dict.fromkeys(lm_training.STEPS, 1))


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_every_part_is_measured_against_the_textbook(tmp_path: Path) -> None:
    file = tmp_path / "gpu.json"
    gpu.main([*ARGUMENTS, "-o", str(file)])
    content = json.loads(file.read_text())
    tables: dict[str, list[dict[str, Any]]] = content["tables"]
    assert [(row["part"], row["outcome"]) for row in tables["parts"]] == [
        (name, "done") for name in gpu.PARTS
    ]
    assert tables["card"][0]["torch"] == torch.__version__
    for title in ("pretraining", "embedding", "training a classifier", "predicting"):
        rows = [row for row in tables[title] if row["precision"] == "fp32"]
        (base,) = [row["tokens/s"] for row in rows if row["peer"] == "textbook"]
        assert len(rows) > 1
        for row in rows:
            assert row["times the textbook"] == pytest.approx(row["tokens/s"] / base)
    refused = [row for row in tables["pretraining"] if row["precision"] == "tf32"]
    assert {row["skipped"] for row in refused} == {"cpu has no TF32"}
    (shares,) = tables["share of a step"]
    parts = [value for name, value in shares.items() if name not in SETTINGS_OF_A_ROW]
    assert sum(parts) == pytest.approx(1)
    sizes = [(row["peer"], row["token budget"]) for row in tables["batch size"]]
    assert sizes == [(peer, budget) for peer in ("elmo", "textbook") for budget in (2048, 4096)]
    for title in ("the same seed twice", "the same seed twice, CUBLAS_WORKSPACE_CONFIG=:16:8"):
        twice = tables[title][0]
        assert twice["equal bits"]
        assert twice["gradient error against fp32"] == twice["largest difference"] == 0
    pretrained, classified, again, resumed = tables["command line"]
    assert pretrained["value"] > 1
    assert 0 <= classified["value"] <= 1
    for row in (again, resumed):
        assert row["equal bits"]
        assert row["value"] == pretrained["value"]
    text = file.with_suffix(".md").read_text()
    assert all(f"## {title[0].upper()}{title[1:]}\n\n| " in text for title in tables)


SETTINGS_OF_A_ROW = ("width", "precision", "step (ms)", "cuDNN")


def test_without_a_gpu_one_line_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
    line = error_line(lambda: gpu.main([]), capsys)
    assert "no GPU" in line
    assert "--device cpu" in line


def test_what_the_budget_has_no_time_for_is_recorded(tmp_path: Path) -> None:
    file = tmp_path / "gpu.json"
    gpu.main([*ARGUMENTS, "--budget", "0", "-o", str(file)])
    outcomes = [row["outcome"] for row in json.loads(file.read_text())["tables"]["parts"]]
    assert outcomes == [gpu.NO_TIME] * len(gpu.PARTS)


def test_a_part_that_fails_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rows_of(part: str, options: Options, seconds: float) -> Iterator[Named]:
        yield "speeds", {"part": part}
        if part == "first":
            raise gpu.PartError("failed: an odd one")
        yield "speeds", {"failed": "RuntimeError: another"}

    monkeypatch.setattr(gpu, "PARTS", {"a": "first", "b": "second"})
    monkeypatch.setattr(gpu, "rows_of", rows_of)
    file = tmp_path / "gpu.json"
    gpu.main([*ARGUMENTS, "-o", str(file)])
    tables = json.loads(file.read_text())["tables"]
    assert [row.get("part") for row in tables["speeds"]] == ["first", "second", None]
    outcomes = [row["outcome"] for row in tables["parts"]]
    assert outcomes == ["failed: an odd one", "done, but 1 of its rows failed"]


def test_larger_batches_are_tried_until_one_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def few_steps(trainee: Any, width: int, budget: int, place: Place) -> dict[str, float]:
        if budget > 8192:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return {"step (ms)": 1.0}

    monkeypatch.setattr(gpu_training, "_few_steps", few_steps)
    rows = [row for _, row in gpu_training.largest_batch(OPTIONS._replace(largest=2**30))]
    assert [row["token budget"] for row in rows] == [2048, 4096, 8192, 16_384] * 2
    assert [row.get("skipped") for row in rows] == [None, None, None, "out of memory"] * 2


def failing(error: BaseException) -> dict[str, Any]:
    raise error


@pytest.mark.parametrize(
    ("error", "row"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), {"skipped": "out of memory"}),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when ..."), {"skipped": "out of memory"}),
        (RuntimeError("an odd one"), {"failed": "RuntimeError: an odd one"}),
        (SystemExit("train_lm failed"), {"failed": "SystemExit: train_lm failed"}),
    ],
)
def test_a_measurement_that_fails_says_why(error: BaseException, row: dict[str, Any]) -> None:
    assert attempt(CPU, lambda: failing(error)) == row


def test_a_long_error_keeps_its_beginning_and_its_end() -> None:
    text = attempt(CPU, lambda: failing(ValueError("begin " + "x" * 999 + " end")))["failed"]
    assert text.startswith("ValueError: begin")
    assert text.endswith("end")
    assert len(text) < 420


def test_a_precision_that_the_device_lacks_is_skipped() -> None:
    row = attempt(Place("cpu", "tf32"), lambda: failing(AssertionError("was called")))
    assert row == {"skipped": "cpu has no TF32"}


def test_the_first_turn_of_a_peer_is_a_warm_up() -> None:
    def peer(turn: harness.Turn) -> None:
        turn(None)
        for number in range(5):
            turn({"number": number})

    assert collect(peer, (), seconds=0) == [{"number": 1}]
    with pytest.raises(RuntimeError, match="ended before"):
        collect(peer, (), seconds=60)


@pytest.mark.parametrize(
    ("precision", "products", "lstms"),
    [("fp32", "highest", "ieee"), ("tf32", "high", "tf32"), ("bf16", "highest", "tf32")],
)
def test_a_precision_holds_for_its_context(precision: str, products: str, lstms: str) -> None:
    def now() -> tuple[str, str]:
        rnn: Any = torch.backends.cudnn.rnn
        return torch.get_float32_matmul_precision(), rnn.fp32_precision

    before = now()
    with Place("cpu", precision).active():
        assert now() == (products, lstms)
        assert torch.is_autocast_enabled("cpu") is False
        with Place("cpu", precision).autocast():
            product = torch.ones(2, 2) @ torch.ones(2, 2)
            assert (product.dtype == torch.bfloat16) == (precision == "bf16")
    assert now() == before


def test_a_second_gpu_is_the_one_that_trains() -> None:
    assert Place("cuda:1", "bf16").overrides() == (
        "trainer.accelerator=cuda",
        "trainer.devices=[1]",
        "trainer.precision=bf16-mixed",
    )
    assert Place("cpu", "tf32").overrides()[1:] == (
        "trainer.devices=1",
        "trainer.precision=32-true",
    )


def test_a_clock_is_read_when_the_gpu_has_done_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both at the start, when earlier work may still run, and at the end."""
    log: list[str] = []

    def clock() -> float:
        log.append("clock")
        return float(len(log))

    monkeypatch.setattr(torch.accelerator, "synchronize", log.append)
    monkeypatch.setattr(time, "perf_counter", clock)
    place = Place("cuda:1")
    meter = Meter(place)
    tokens, lengths = torch.ones(2, 3), torch.tensor([3, 2])
    meter.batches.append(Batch(tokens, lengths, lengths, lengths))
    assert meter.result()["tokens/s"] == 5 / 2
    assert log == ["cuda:1", "clock"] * 2
    log.clear()

    def work() -> int:
        log.append("work")
        return 4

    results = collect(gpu_use.timed, (work, place), seconds=0)
    assert log[:5] == ["cuda:1", "clock", "work", "cuda:1", "clock"]
    assert results == [{"tokens/s": 4 / 3}]


def test_the_rate_of_a_gpu_is_that_of_the_fastest_product(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, ...]] = []

    def rate(size: int, device: str, dtype: torch.dtype, product: Any) -> float:
        assert product is torch.mm
        seen.append((size, device, dtype, torch.get_float32_matmul_precision()))
        return 1.0 / size

    monkeypatch.setattr(harness, "matrix_multiply_rate", rate)
    assert Place("cuda", "tf32").limit() == 1 / 4096
    assert Place("cuda", "bf16").limit() == 1 / 4096
    assert [call[2:] for call in seen] == [
        *[(torch.float32, "high")] * 2,
        *[(torch.bfloat16, "highest")] * 2,
    ]
    assert {call[:2] for call in seen} == {(4096, "cuda"), (8192, "cuda")}


def event(name: str, parent: Any = None, **kernels: float) -> Any:
    """An operation of the processor, with the microseconds of the kernels that it started."""
    event.count += 1  # type: ignore[attr-defined]
    return SimpleNamespace(
        name=name,
        cpu_parent=parent,
        kernels=[SimpleNamespace(name=kernel, duration=us) for kernel, us in kernels.items()],
        sequence_nr=-1,
        time_range=SimpleNamespace(start=event.count),  # type: ignore[attr-defined]
        self_cpu_time_total=1.0,
    )


event.count = 0  # type: ignore[attr-defined]


def test_time_on_the_gpu_is_that_of_kernels_each_counted_once() -> None:
    part = event(MARK + "LSTMs", **{MARK + "LSTMs": 9e6})  # the range itself, back from the GPU
    outer = event("aten::_cudnn_rnn", part)
    inner = event("aten::_cudnn_rnn", outer, gemm=2e6)  # autocast calls it again
    copy = event("aten::copy_", inner, copy=1e6)
    softmax = event(MARK + "softmax")
    product = event("aten::mm", softmax, gemm=3e6)
    events: Any = [part, outer, inner, copy, softmax, product]
    assert seconds_in_cudnn(events) == 3
    shares = shares_of_parts(events, seconds=10.0, gpu=True)
    assert {name: share for name, share in shares.items() if share} == pytest.approx(
        {"LSTMs": 0.3, "softmax": 0.3, REST: 0.4}
    )


@pytest.mark.usefixtures("small")
def test_trainings_that_differ_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = iter(range(100))
    plain = gpu_training._model_and_batch

    def other_dropout(*arguments: Any) -> Any:
        found = plain(*arguments)
        torch.manual_seed(next(seeds))
        return found

    monkeypatch.setattr(gpu_training, "_model_and_batch", other_dropout)
    (_, row), _ = gpu_training.repeatability(OPTIONS)
    assert not row["equal bits"]
    assert row["largest difference"] > 0
    assert row["first loss that differs, of step"] == 1
    assert "bilm.forward_lstm (8)" in row["weights that differ"]
    assert row["gradients of one step that differ"] == "none"  # without dropout


def test_the_error_of_gradients_is_relative() -> None:
    exact = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([4.0])}
    found = {"a": torch.tensor([3.0, 0.5]), "b": torch.tensor([4.0])}
    assert gpu_training.relative_error(found, exact) == pytest.approx(0.1)
    assert gpu_training.largest_difference(found, exact) == 0.5
    assert gpu_training.differing(found, exact) == ["a"]


def test_the_textbook_classifier_reads_no_padding_and_trains_its_head_alone() -> None:
    torch.manual_seed(0)
    model = TextbookClassifier(Textbook(30, 6), num_classes=3)
    short, long = torch.tensor([2, 7, 8, 3]).numpy(), torch.tensor([2, 9, 9, 9, 9, 3]).numpy()
    alone, together = (model(*mirrored_pair(documents)) for documents in ([short], [short, long]))
    torch.testing.assert_close(together[:1], alone)
    together.sum().backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {
        "output.weight",
        "output.bias",
    }
    tokens, mirrored = mirrored_pair([short, long])
    assert torch.equal(mirrored, pad([short[::-1], long[::-1]])[0])
    assert tokens.shape == (2, 6)
