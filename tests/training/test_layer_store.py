from __future__ import annotations

import errno
import logging
import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from elmo.data.classification_data import ClassificationData
from elmo.data.corpora.toy import ToyNews
from elmo.errors import ConfigError
from elmo.models.encoders import ElmoEncoder, SideBySideEncoder
from elmo.models.static import StaticEncoder
from elmo.modules.bilm import BiLM
from elmo.training import layer_store as store_module
from elmo.training.layer_store import DiskStore, NoStore
from small_corpora import toy_news

CPU = torch.device("cpu")
SPLITS = ("train", "validation", "test")


def bilm_encoder(toy: ToyNews, seed: int = 0) -> ElmoEncoder:
    torch.manual_seed(seed)
    return ElmoEncoder(toy.tokenizer, BiLM(len(toy.tokenizer), embedding_dim=6, hidden_dim=8))


@pytest.fixture
def encoder(toy: ToyNews) -> ElmoEncoder:
    return bilm_encoder(toy)


def new_data(toy: ToyNews, **settings: Any) -> ClassificationData:
    arguments = {"token_budget": 1024, "num_workers": 0, "seed": 0, **settings}
    return ClassificationData(corpus=toy, tokenizer=toy.tokenizer, **arguments)


def files(folder: Path) -> dict[str, bytes]:
    """Content of each entry, by the split that its name ends with."""
    return {path.parent.name[-5:]: path.read_bytes() for path in folder.glob("*/layers.bin")}


def entries(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_dir()}


def gigabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.glob("*/layers.bin")) / 1e9


def test_batches_carry_what_the_encoder_computes(
    toy: ToyNews, encoder: ElmoEncoder, tmp_path: Path
) -> None:
    data = new_data(toy)
    DiskStore(str(tmp_path), 1).attach(encoder, data, CPU)
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        for batch in loader:
            exact = encoder(batch._replace(layers=None))
            assert batch.layers.shape == (2, *batch.tokens.shape, 16)
            assert batch.layers[:, ~batch.mask].abs().sum() == 0
            given = encoder(batch)
            assert torch.equal(given[0][batch.mask], exact[0][batch.mask])
            torch.testing.assert_close(
                given[:, batch.mask], exact[:, batch.mask], rtol=2**-10, atol=1e-6
            )


def test_content_does_not_depend_on_the_job(
    toy: ToyNews, encoder: ElmoEncoder, tmp_path: Path
) -> None:
    jobs = (new_data(toy), new_data(toy, token_budget=100, seed=7))
    for number, data in enumerate(jobs):
        DiskStore(str(tmp_path / str(number)), 1).attach(encoder, data, CPU)
    first, second = (files(tmp_path / str(number)) for number in range(2))
    assert len(first) == 3
    assert first == second


def test_a_warm_store_is_read_and_not_built(
    toy: ToyNews, encoder: ElmoEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DiskStore(str(tmp_path), 1)
    cold, warm = new_data(toy), new_data(toy)
    store.attach(encoder, cold, CPU)
    monkeypatch.delattr(store_module.Entry, "build")
    store.attach(encoder, warm, CPU)
    for one, other in zip(cold.train_dataloader(), warm.train_dataloader(), strict=True):
        assert torch.equal(one.layers, other.layers)


def test_other_weights_or_rows_have_other_entries(
    toy: ToyNews, encoder: ElmoEncoder, tmp_path: Path, cache_dir: Path
) -> None:
    other = toy_news(cache_dir, seed=1)
    store = DiskStore(str(tmp_path), 1)
    store.attach(encoder, new_data(toy), CPU)
    store.attach(bilm_encoder(toy, seed=1), new_data(toy), CPU)
    changed = ClassificationData(
        corpus=other, tokenizer=toy.tokenizer, token_budget=1024, num_workers=0, seed=0
    )
    store.attach(encoder, changed, CPU)
    assert len(entries(tmp_path)) == 9


def test_without_test_the_test_split_is_not_touched(
    toy: ToyNews, encoder: ElmoEncoder, tmp_path: Path
) -> None:
    data = new_data(toy)
    DiskStore(str(tmp_path), 1).attach(encoder, data, CPU, test=False)
    assert {name.rpartition("-")[2] for name in entries(tmp_path)} == {"train", "validation"}
    assert data.splits["test"].layers is None


def test_the_entries_used_longest_ago_go_first(toy: ToyNews, tmp_path: Path) -> None:
    encoders = [bilm_encoder(toy, seed) for seed in range(3)]
    generous = DiskStore(str(tmp_path), 1)
    names = []
    for encoder in encoders[:2]:
        before = entries(tmp_path) if tmp_path.exists() else set()
        generous.attach(encoder, new_data(toy), CPU)
        names.append(entries(tmp_path) - before)
    for age, group in zip((1000, 2000), names, strict=True):
        for name in group:
            os.utime(tmp_path / name, (age, age))
    generous.attach(encoders[0], new_data(toy), CPU)  # used again: the second is the oldest now
    room_for_two = gigabytes(tmp_path) + 1e-9
    DiskStore(str(tmp_path), room_for_two).attach(encoders[2], new_data(toy), CPU)
    left = entries(tmp_path)
    assert names[0] <= left
    assert not names[1] & left
    assert len(left) == 6
    assert gigabytes(tmp_path) <= room_for_two


def test_what_does_not_fit_is_not_stored(
    toy: ToyNews, encoder: ElmoEncoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = new_data(toy)
    with caplog.at_level(logging.WARNING):
        DiskStore(str(tmp_path), 1e-5).attach(encoder, data, CPU)
    assert "store.max_gigabytes=1e-05" in caplog.text
    assert not entries(tmp_path)
    assert next(iter(data.train_dataloader())).layers is None


def test_half_of_the_free_disk_stays_free(
    toy: ToyNews, encoder: ElmoEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    DiskStore(str(tmp_path), 1).attach(encoder, new_data(toy), CPU)
    size = gigabytes(tmp_path) * 1e9
    usage = shutil.disk_usage(tmp_path)

    def attach(free: float) -> ClassificationData:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=int(free)))
        data = new_data(toy)
        DiskStore(str(tmp_path), 1).attach(encoder, data, CPU)
        return data

    assert attach(free=size * 0.9).splits["train"].layers is None
    assert attach(free=size * 1.1).splits["train"].layers is not None  # its own entries count


def test_a_damaged_entry_is_made_again(toy: ToyNews, encoder: ElmoEncoder, tmp_path: Path) -> None:
    store = DiskStore(str(tmp_path), 1)
    store.attach(encoder, new_data(toy), CPU)
    whole = files(tmp_path)
    for path in tmp_path.glob("*/layers.bin"):
        path.write_bytes(path.read_bytes()[:-2])
    store.attach(encoder, new_data(toy), CPU)
    assert files(tmp_path) == whole


def test_what_a_killed_build_left_goes(toy: ToyNews, encoder: ElmoEncoder, tmp_path: Path) -> None:
    left = tmp_path / ".abc-train-x1y2"
    left.mkdir()
    (left / "layers.bin").write_bytes(b"1")
    DiskStore(str(tmp_path), 1).attach(encoder, new_data(toy), CPU)
    assert not left.exists()
    assert len(entries(tmp_path)) == 3


def test_two_jobs_at_once_build_once(
    toy: ToyNews, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []
    build = store_module.Entry.build

    def counted(self: store_module.Entry, device: torch.device) -> None:
        built.append(self.folder.name)
        build(self, device)

    monkeypatch.setattr(store_module.Entry, "build", counted)
    jobs = [new_data(toy) for _ in range(4)]
    encoders = [bilm_encoder(toy) for _ in jobs]
    with ThreadPoolExecutor(4) as pool:
        attach = DiskStore(str(tmp_path), 1).attach
        list(pool.map(attach, encoders, jobs, [CPU] * len(jobs)))
    assert len(built) == 3
    assert all(data.splits[split].layers is not None for data in jobs for split in SPLITS)


def test_a_full_disk_does_not_stop_the_job(
    toy: ToyNews,
    encoder: ElmoEncoder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store_module, "publish", full)
    data = new_data(toy)
    DiskStore(str(tmp_path), 1).attach(encoder, data, CPU)
    assert "No space left on device" in caplog.text
    assert next(iter(data.train_dataloader())).layers is None


def test_workers_read_the_file_themselves(
    toy: ToyNews, encoder: ElmoEncoder, tmp_path: Path
) -> None:
    alone, helped = new_data(toy), new_data(toy, num_workers=2)
    for data in (alone, helped):
        DiskStore(str(tmp_path), 1).attach(encoder, data, CPU)
    layers = alone.splits["train"].layers
    assert layers is not None
    packed = pickle.dumps(layers)
    assert len(packed) < 20_000  # the map itself holds half a megabyte
    assert torch.equal(pickle.loads(packed)([3, 5]), layers([3, 5]))
    for one, other in zip(alone.train_dataloader(), helped.train_dataloader(), strict=True):
        assert torch.equal(one.layers, other.layers)


def test_static_vectors_are_not_stored(toy: ToyNews, tmp_path: Path) -> None:
    data = new_data(toy)
    DiskStore(str(tmp_path), 1).attach(StaticEncoder(toy.tokenizer, 4), data, CPU)
    assert not list(tmp_path.iterdir())
    assert data.splits["train"].layers is None


def test_off(toy: ToyNews, encoder: ElmoEncoder) -> None:
    data = new_data(toy)
    assert NoStore().attach(encoder, data, CPU) == 0
    assert data.splits["train"].layers is None


@pytest.mark.parametrize("size", [0, -1, float("nan")])
def test_a_store_of_no_size_is_refused(tmp_path: Path, size: float) -> None:
    with pytest.raises(ConfigError, match="store=off"):
        DiskStore(str(tmp_path), size)


def test_bilms_side_by_side_share_the_entries_of_each(toy: ToyNews, tmp_path: Path) -> None:
    parts = [bilm_encoder(toy, seed) for seed in (0, 1)]
    DiskStore(str(tmp_path), 1).attach(parts[0], new_data(toy), CPU)
    before = entries(tmp_path)
    both = SideBySideEncoder(parts)
    data = new_data(toy)
    DiskStore(str(tmp_path), 1).attach(both, data, CPU)
    assert before < entries(tmp_path)
    assert len(entries(tmp_path)) == 2 * len(before)
    batch = next(iter(data.evaluation_loader("validation")))
    assert batch.layers is not None
    computed = both(batch._replace(layers=None))[1:].half() * batch.mask.unsqueeze(-1)
    assert torch.equal(batch.layers, computed)
    assert torch.equal(both(batch)[1:], computed.float())
