"""The benchmarks of embedding, scaling, start-up, checkpoints and cost at a tiny size."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from itertools import count, islice
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils import clip_grad_norm_
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import checkpoint, cost, embedding, harness, scaling, startup
from benchmarks.models import pack
from benchmarks.steps import BEND, PARTS, Zipf, step
from conftest import TINY_LM, Script
from elmo.data.batches import Batch, pad
from elmo.data.text import BOS, EOS, PAD, UNK
from elmo.errors import ArtifactError
from elmo.models.encoders import ElmoEncoder
from elmo.models.language_model import LanguageModel
from elmo.modules.bilm import BiLM
from elmo.modules.softmax import FullSoftmax

TEXTS = ["The bank raised its rates.", "", "the river &lt;b&gt;left its bank!", "unheard of"] * 12


class EnoughError(Exception):
    """A peer has had all its turns."""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, cache_dir: Path) -> None:
    """Run peers in this process, on the toy corpus of the other tests."""
    settings_of = harness.settings

    def in_this_process(
        peers: Mapping[str, tuple[harness.Peer, tuple]], rounds: int
    ) -> dict[str, list[Any]]:
        results: dict[str, list[Any]] = {}
        for name, (function, args) in peers.items():
            own = results[name] = []

            def turn(result: Any, own: list[Any] = own) -> None:
                if result is not None:
                    own.append(result)
                if len(own) == rounds:
                    raise EnoughError

            with pytest.raises(EnoughError):
                function(turn, *args)
        return results

    def settings(job: str, *overrides: str) -> Any:
        toy = [item for item in TINY_LM if item.startswith("data")]
        return settings_of(job, *toy, f"cache_dir={cache_dir}", *overrides)

    monkeypatch.setattr(harness, "in_turn", in_this_process)
    monkeypatch.setattr(harness, "settings", settings)
    monkeypatch.setattr(harness, "limit", lambda *_: 1e9)
    monkeypatch.setattr("elmo.utils.memory.keep_freed_memory", lambda: None)


def tables(file: Path) -> list[list[dict[str, Any]]]:
    return list(json.loads(file.read_text())["tables"].values())


@pytest.mark.usefixtures("small")
def test_embedding_compares_every_peer_at_every_width(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = count()
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    file = tmp_path / "embedding.json"
    embedding.main(["--widths", "4", "8", "--texts", "20", "--rounds", "2", "-o", str(file)])
    speeds, parts = tables(file)
    peers = ["elmo embed", "from Python", "one by one", "packed"]
    assert [(row["width"], row["peer"]) for row in speeds] == [
        (w, p) for w in (4, 8) for p in peers
    ]
    for row in speeds:
        same_width = {other["peer"]: other for other in speeds if other["width"] == row["width"]}
        for peer in ("one by one", "packed"):
            expected = row["tokens/s"] / same_width[peer]["tokens/s"]
            assert row[f"times {peer}"] == pytest.approx(expected)
        flops = 2 * 2 * 8 * row["width"] * 2 * row["width"]  # per token
        assert row["share of the limit"] == pytest.approx(row["tokens/s"] * flops / 1e9)
    # There is one batch; the clock is read six times between its start and its end.
    for row in parts:
        assert list(row.values())[2:] == pytest.approx([1 / 5, 1 / 5, 2 / 5, 1 / 5])


@pytest.mark.parametrize("dim", [8, 5])
def test_flops_of_the_forward_pass_equal_the_count_of_pytorch(
    dim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    bilm = BiLM(40, embedding_dim=dim, hidden_dim=8).eval()
    lengths = torch.tensor([7, 7, 7])
    monkeypatch.setattr(
        torch.backends.mkldnn, "enabled", False
    )  # computes an LSTM by matrix products
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        bilm(torch.randint(4, 40, (3, 7)), lengths)
    assert embedding.forward_flops(bilm, int(lengths.sum())) == counter.get_total_flops()


def test_packed_sequences_give_the_same_vectors(encoder: ElmoEncoder) -> None:
    expected = encoder.embed(TEXTS)
    set_lengths = pack(encoder.bilm)
    packed = list(embedding.embed_packed(encoder, TEXTS, set_lengths))
    assert len(TEXTS) > embedding.PACKED_BATCH
    for got, wanted in zip(packed, expected, strict=True):
        assert got.tokens == wanted.tokens
        torch.testing.assert_close(got.vectors, wanted.vectors)


def test_words_follow_zipf() -> None:
    zipf = Zipf(vocab_size=4 + 4 * BEND, seed=0)
    shares = np.diff(zipf.cumulated, prepend=0)
    assert shares.sum() == pytest.approx(1)
    assert shares[1] == pytest.approx(shares[0] / 2)
    assert shares[BEND - 1] == pytest.approx(shares[0] / BEND)
    assert shares[2 * BEND - 1] == pytest.approx(shares[BEND - 1] / 2**1.7)
    words = zipf.words(100_000)
    assert int(words.min()) == 4
    assert BEND < int(words.max()) < 4 + 4 * BEND
    assert float((words == 4).float().mean()) == pytest.approx(shares[0], rel=0.05)


def test_words_of_a_batch_are_replaced() -> None:
    tokens, lengths = pad([np.array([BOS, 7, UNK, 9, EOS]), np.array([BOS, 300, EOS])])
    batch = Batch(tokens, lengths, torch.zeros(2), torch.arange(2))
    before = tokens.clone()
    (replaced,) = Zipf(20, seed=0).replace_words(iter([batch]))
    words = torch.tensor([[False, True, True, True, False], [False, True, False, False, False]])
    assert torch.equal(replaced.tokens[~words], before[~words])
    assert torch.equal(replaced.tokens[1, 3:], torch.tensor([PAD, PAD]))
    assert ((replaced.tokens[words] >= 4) & (replaced.tokens[words] < 20)).all()
    assert torch.equal(tokens, before)
    assert replaced.lengths is lengths


def test_documents_of_one_length_fill_the_budget() -> None:
    for batch in islice(Zipf(50, seed=0).documents(length=6, token_budget=32), 3):
        assert batch.tokens.shape == (5, 6)
        assert (batch.tokens[:, 0] == BOS).all()
        assert (batch.tokens[:, -1] == EOS).all()
        assert (batch.tokens[:, 1:-1] >= 4).all()
        assert batch.lengths.tolist() == [6] * 5


@pytest.mark.parametrize("limit", [0.01, 1000.0])
def test_a_step_trains(limit: float) -> None:
    batch = next(Zipf(40, seed=0).documents(length=6, token_budget=32))
    weights = []
    for by_hand in (True, False):
        torch.manual_seed(0)
        model = LanguageModel(BiLM(40, 8, 8, dropout=0.0), FullSoftmax(8, 40))
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        for _ in range(2):
            if by_hand:
                optimizer.zero_grad()
                model(batch.tokens, batch.lengths).mean().backward()
                clip_grad_norm_(model.parameters(), limit)
                optimizer.step()
            else:
                assert list(step(model, optimizer, batch, limit)) == list(PARTS)
        weights.append(torch.cat([parameter.flatten() for parameter in model.parameters()]))
    torch.testing.assert_close(*weights)


@pytest.mark.usefixtures("small")
def test_scaling_measures_every_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "WIDTH", 8)
    file = tmp_path / "scaling.json"
    sizes = ["--vocabularies", "60", "40000", "--widths", "4", "8", "--lengths", "8", "16"]
    scaling.main([*sizes, "--rounds", "2", "-o", str(file)])
    vocabulary, width, length = tables(file)
    cases = [("adaptive", 60), ("adaptive", 40_000), ("full", 60)]
    assert [(row["softmax"], row["V"]) for row in vocabulary] == cases
    assert [row["width"] for row in width] == [4, 8]
    assert [row["length"] for row in length] == [8, 16]
    assert vocabulary[0]["ratio"] == width[1]["ratio"] == length[0]["ratio"] == 1
    for table in (vocabulary, width, length):
        assert all(row[name] > 0 for row in table for name in ("step", "ratio", *PARTS))
        assert all(row["MiB"] >= 0 for row in table)
    assert vocabulary[1]["M weights"] > 50 * vocabulary[0]["M weights"] > 0


def test_imports_are_listed() -> None:
    modules = startup.imported_by("-c", "import json.scanner")
    assert {"json", "json.scanner"} <= set(modules)
    assert "torch" not in modules


def test_heavy_imports_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "torch.py").touch()
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import torch"
    monkeypatch.setattr(startup, "HELP", {"light": ["-c", "pass"], "heavy": ["-c", code]})
    light, heavy = startup.help_times(rounds=1)
    assert light["heavy ones"] == "none"
    assert heavy["heavy ones"] == "torch"
    assert light["modules"] < heavy["modules"]


def test_a_program_that_fails_ends_the_benchmark() -> None:
    with pytest.raises(SystemExit, match="no such thing"):
        startup.run("-c", "raise SystemExit('no such thing')")


def test_the_first_step_is_timed_and_the_run_stops(script: Script, tmp_path: Path) -> None:
    stamps = tmp_path / "moments.json"
    before = time.time()
    script(
        "train_lm", *TINY_LM, *startup.stop_at_first_step(stamps), output_dir=tmp_path / "outputs"
    )
    moments = json.loads(stamps.read_text())
    assert tuple(moments) == startup.MOMENTS
    times = list(moments.values())
    assert before < times[0] < times[1] < times[2] < time.time()
    assert not list(tmp_path.rglob("bilstm.pt"))


def test_imports_are_subtracted_from_the_first_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Imports take 5, 6, 7 seconds; the moments follow 1, 2, 3 seconds later."""
    imports = iter((100, 6, 5, 7))
    seconds = 0.0

    def run(*command: str) -> CompletedProcess[str]:
        nonlocal seconds
        if command[0] == "-c":
            assert all(f"import {package}\n" in command[1] for package in startup.PACKAGES)
            seconds = next(imports)
            return CompletedProcess(command, 0, f"{time.time() + seconds}\n")
        file = Path(command[-1].partition("=")[2])
        now = time.time() + seconds
        moments = {name: now + later for later, name in enumerate(startup.MOMENTS, start=1)}
        file.write_text(json.dumps(moments))
        return CompletedProcess(command, 0)

    monkeypatch.setattr(startup, "run", run)
    rows = startup.first_steps(rounds=3)
    assert [row["moment"] for row in rows] == ["imports end", *startup.MOMENTS]
    assert [row["seconds"] for row in rows] == pytest.approx([6, 7, 8, 9], abs=0.1)
    assert [row["after the imports"] for row in rows] == pytest.approx([0, 1, 2, 3], abs=0.1)


@pytest.mark.usefixtures("small")
def test_a_checkpoint_contains_weights_and_both_moments(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.json"
    checkpoint.main(["--widths", "8", "--rounds", "2", "-o", str(file)])
    ((row,),) = tables(file)
    assert row["width"] == 8
    assert row["MB"] > 3 * 4 * row["M weights"] > 0
    assert 0 < row["share of the time"] < 1


def scaling_file(folder: Path, rows: list[dict[str, Any]]) -> Path:
    file = folder / "scaling.json"
    file.write_text(json.dumps({"tables": {"vocabulary": rows, "length": [{"length": 8}]}}))
    return file


def test_cost_recovers_the_rates_behind_the_steps(tmp_path: Path) -> None:
    sizes = [(100.0, 5.0), (300.0, 9.0), (120.0, 80.0), (30.0, 4.0)]
    rows = [
        {"V": n, "GFLOP": work, "M weights": weights, "MiB": 1.0, "tokens": 2000}
        | {"step": 1000 * (work / 200 + weights * 0.003 + 0.02)}
        for n, (work, weights) in enumerate(sizes)
    ]
    file = tmp_path / "cost.json"
    cost.main(["--scaling", str(scaling_file(tmp_path, rows)), "--gpu", "2", "-o", str(file)])
    facts = json.loads(file.read_text())
    assert facts["GFLOP/s of the cores"] == pytest.approx(200)
    assert facts["ms per million weights"] == pytest.approx(3)
    assert facts["ms of any step"] == pytest.approx(20)
    steps, hours, network = tables(file)
    for row in steps:
        assert row["predicted"] == pytest.approx(row["measured"])
    first = hours[0]
    assert first["words"] == 5_000_000
    assert first["these cores"] == pytest.approx(10 * 5e6 / 2000 * rows[0]["step"] / 1000 / 3600)
    assert first["one GPU"] == pytest.approx(10 * 5e6 / 2000 * 100 / 2000 / 3600)
    assert network[0]["MB sent per step"] == pytest.approx(2 * 7 / 8 * 4 * 5)
    budget = network[0]["tokens, 10 Gbit/s"]  # sending takes a fifth, computing the rest
    computing = budget * 100 / 2000 / 2000 / 8
    assert 0.035 / 1.25 / (0.035 / 1.25 + computing) == pytest.approx(0.2, abs=1e-3)


@pytest.mark.parametrize("rows", [[], [{"GFLOP": 1.0}]])
def test_cost_needs_what_scaling_measured(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    with pytest.raises(ArtifactError, match=r"expected 4 or more"):
        cost.main(["--scaling", str(scaling_file(tmp_path, rows))])
    with pytest.raises(ArtifactError, match=r"python -m benchmarks\.scaling"):
        cost.main(["--scaling", str(tmp_path / "none.json")])
