"""Published models from a stranger: damaged or hostile weights and zips, refused in one line."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from elmo.errors import ArtifactError
from elmo.models.loading import load_bilm, load_encoder
from faults.test_hostile_files import memory
from models.published_reference import CELL, arrays_of, options_of, write_model

CELL_0 = CELL.format(0, 0)
NAME = f"{CELL_0}/W_0"
Attack = Callable[[h5py.File], object]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    options = options_of()
    return write_model(tmp_path / "model", options, arrays_of(options))


def refused(folder: Path) -> str:
    """The one line of the error, which is the same for all who load a model."""
    found = set()
    for load in (load_bilm, load_encoder):
        with pytest.raises(ArtifactError) as caught:
            load(folder)
        found.add(str(caught.value))
    (message,) = found
    assert "\n" not in message
    return message


def external_link(file: h5py.File) -> None:
    shutil.copy(file.filename, other := f"{file.filename}.other")
    file[NAME] = h5py.ExternalLink(other, f"/{NAME}")


def soft_link(file: h5py.File) -> None:
    file["elsewhere"] = np.zeros((10, 36), "float32")
    file[NAME] = h5py.SoftLink("/elsewhere")


def soft_link_of_a_group(file: h5py.File) -> None:
    file.move("RNN_0", "moved")
    file[f"moved/{NAME.removeprefix('RNN_0/')}"] = np.zeros((10, 36), "float32")
    file["RNN_0"] = h5py.SoftLink("/moved")


def link_to_itself(file: h5py.File) -> None:
    file[NAME] = h5py.SoftLink(f"/{NAME}")


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((10, 36), "float32")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (10, 36))
    file.create_virtual_dataset(NAME, layout)


def external_storage(file: h5py.File) -> None:
    file.create_dataset(NAME, (10, 36), "float32", external=[("/etc/passwd", 0, 1440)])


def compressed(file: h5py.File) -> None:
    file.create_dataset(NAME, data=np.zeros((10, 36), "float32"), compression="gzip")


def never_written(file: h5py.File) -> None:
    file.create_dataset(NAME, (10, 36), "float32")


def of_type(dtype: str) -> Attack:
    return lambda file: file.create_dataset(NAME, data=np.zeros((10, 36), dtype))


def of_shape(*shape: int) -> Attack:
    return lambda file: file.create_dataset(NAME, data=np.zeros(shape, "float32"))


def objects(file: h5py.File) -> None:
    file.create_dataset(NAME, (10, 36), h5py.string_dtype())


def references(file: h5py.File) -> None:
    file.create_dataset(NAME, (10, 36), h5py.ref_dtype)


def named_type(file: h5py.File) -> None:
    file[NAME] = np.dtype("float32")


def empty(file: h5py.File) -> None:
    file[NAME] = h5py.Empty("float32")


def big_endian(file: h5py.File) -> None:
    file.create_dataset(NAME, data=np.zeros((10, 36), ">f4"))


WHERE = f"weights.hdf5: data set '{NAME}'"
WEIGHTS: dict[str, tuple[Attack, str]] = {
    "nothing": (lambda file: None, "is missing, or is a link"),
    "an external link": (external_link, "is missing, or is a link"),
    "a soft link": (soft_link, "is missing, or is a link"),
    "a link of a group": (soft_link_of_a_group, "is missing, or is a link"),
    "a link to itself": (link_to_itself, "is missing, or is a link"),
    "a group": (lambda file: file.create_group(NAME), "is missing, or is a link"),
    "a type": (named_type, "is missing, or is a link"),
    "a virtual data set": (virtual, "is not whole in this file"),
    "storage in another file": (external_storage, "is not whole in this file"),
    "compressed": (compressed, "is not whole in this file"),
    "never written": (never_written, "is not whole in this file"),
    "nothing inside": (empty, "has shape None, expected (10, 36)"),
    "float64": (of_type("float64"), "has dtype float64, expected float32"),
    "float16": (of_type("float16"), "has dtype float16, expected float32"),
    "integers": (of_type("int32"), "has dtype int32, expected float32"),
    "complex": (of_type("complex64"), "has dtype complex64, expected float32"),
    "big-endian": (big_endian, "has dtype >f4, expected float32"),
    "texts": (objects, "has dtype object, expected float32"),
    "references": (references, "has dtype object, expected float32"),
    "transposed": (of_shape(36, 10), "has shape (36, 10), expected (10, 36) by the options"),
    "one row less": (of_shape(9, 36), "has shape (9, 36), expected (10, 36)"),
    "flat": (of_shape(360), "has shape (360,), expected (10, 36)"),
    "one number": (of_shape(), "has shape (), expected (10, 36)"),
}


@pytest.mark.parametrize("attack", WEIGHTS)
def test_a_hostile_data_set(attack: str, model: Path, frugal: None) -> None:
    act, message = WEIGHTS[attack]
    with h5py.File(model / "weights.hdf5", "a") as file:
        del file[NAME]
        act(file)
    assert f"{WHERE} {message}" in refused(model)


@pytest.mark.parametrize("name", sorted(arrays_of(options_of())))
def test_each_data_set_is_needed(name: str, model: Path, frugal: None) -> None:
    with h5py.File(model / "weights.hdf5", "a") as file:
        del file[name]
    assert f"weights.hdf5: data set '{name}' is missing" in refused(model)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", sorted(arrays_of(options_of())))
def test_a_number_that_is_not_finite(name: str, number: float, model: Path) -> None:
    with h5py.File(model / "weights.hdf5", "a") as file:
        file[name][(-1,) * file[name].ndim] = number
    assert f"data set '{name}' holds numbers that are not finite" in refused(model)


def text(file: Path) -> None:
    file.write_text("<html>404</html>")


def cut(share: float) -> Callable[[Path], None]:
    return lambda file: os.truncate(file, int(file.stat().st_size * share))


def no_file(file: Path) -> None:
    file.unlink()
    file.mkdir()


FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a web page": (text, "not an HDF5 file; copy or download it again"),
    "empty": (cut(0), "not an HDF5 file"),
    "the beginning": (cut(0.3), "truncated; copy or download it again"),
    "nearly whole": (cut(0.999), "truncated"),
    "a folder": (no_file, "expected one file of weights"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_is_not_whole(case: str, model: Path, frugal: None) -> None:
    act, message = FILES[case]
    act(model / "weights.hdf5")
    assert message in refused(model)


def test_options_that_claim_more_than_there_is(model: Path, frugal: None) -> None:
    huge: dict[str, Any] = {"dim": 2**17, "projection_dim": 2**17, "n_layers": 64, "n_highway": 64}
    (model / "options.json").write_text(json.dumps(options_of(**huge)))
    assert "weights.hdf5: data set 'C" in refused(model)


def test_a_small_file_that_claims_to_be_huge(model: Path, frugal: None) -> None:
    """The shapes are those of the options, but nothing was ever written: HDF5 would give zeros."""
    options = options_of(dim=2**15, projection_dim=2**14)
    shutil.rmtree(model)
    write_model(model, options, {})
    with h5py.File(model / "weights.hdf5", "w") as file:
        for name, array in arrays_of(options_of()).items():
            if "RNN" not in name and "proj" not in name:
                file[name] = array
        file.create_dataset("CNN_proj/W_proj", (11, 2**14), "float32")
        for direction in range(2):
            for layer in range(2):
                cell = CELL.format(direction, layer)
                file.create_dataset(f"{cell}/W_0", (2**15, 2**17), "float32")
                file.create_dataset(f"{cell}/B", (2**17,), "float32")
                file.create_dataset(f"{cell}/W_P_0", (2**15, 2**14), "float32")
    assert "is not whole in this file" in refused(model)


def test_one_data_set_under_many_names(model: Path, frugal: None) -> None:
    """The file of a layer would stand for a model of 128."""
    options = options_of(n_layers=64)
    (model / "options.json").write_text(json.dumps(options))
    with h5py.File(model / "weights.hdf5", "a") as file:
        for direction in range(2):
            for layer in range(2, 64):
                file[CELL.format(direction, layer).rpartition("/")[0]] = file[CELL_0].parent
    message = refused(model)
    assert "weights.hdf5: has " in message
    assert "expected at least" in message


@pytest.mark.slow
def test_flipped_bytes_of_the_weights(model: Path) -> None:
    """A file opens, or is refused in one line; a number that is another finite one is not seen."""
    whole = (model / "weights.hdf5").read_bytes()
    choice = random.Random(0)
    refusals = 0
    for _ in range(600):
        content = bytearray(whole)
        for _ in range(choice.choice([1, 1, 4])):
            content[choice.randrange(len(content))] = choice.randrange(256)
        (model / "weights.hdf5").write_bytes(content)
        try:
            load_bilm(model)
        except ArtifactError as error:
            refusals += 1
            assert "\n" not in str(error)
    assert refusals > 50


@pytest.fixture
def archive(model: Path) -> Path:
    file = model.parent / "203.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in sorted(model.iterdir()):
            archive.write(part, f"203/{part.name}")
    return file


def packed(file: Path, name: str, content: bytes) -> None:
    """The same zip with another content of one member."""
    with zipfile.ZipFile(file) as old:
        members = {member.filename: old.read(member) for member in old.infolist()}
    members[name] = content
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for member, inside in members.items():
            new.writestr(member, inside)


def test_a_zip_without_a_model(archive: Path) -> None:
    with zipfile.ZipFile(archive, "w") as empty:
        empty.writestr("README", "moved")
    assert "203.zip: expected one file of options*.json, found none" in refused(archive)
    archive.write_text("moved")
    assert "203.zip: a damaged zip" in refused(archive)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_zip_that_is_not_whole(share: float, archive: Path, frugal: None) -> None:
    os.truncate(archive, int(archive.stat().st_size * share))
    assert "203.zip: a damaged zip" in refused(archive)


def test_flipped_bytes_of_a_zip(archive: Path) -> None:
    whole = archive.read_bytes()
    choice = random.Random(0)
    refusals = 0
    for _ in range(60):
        content = bytearray(whole)
        content[choice.randrange(len(content))] ^= 1 << choice.randrange(8)
        archive.write_bytes(content)
        try:
            load_bilm(archive)
        except ArtifactError as error:
            refusals += 1
            assert "203.zip" in str(error)
            assert "\n" not in str(error)
    assert refusals > 40


@pytest.mark.parametrize(
    ("name", "size"), [("options.json", 2**27), ("weights.hdf5", 2**28)]
)  # fmt: skip
def test_a_zip_bomb(
    name: str, size: int, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member that becomes a thousand times as large is not unpacked."""
    packed(archive, f"203/{name}", b" " * size)
    folders = tmp_path / "temporary"
    folders.mkdir()
    monkeypatch.setenv("TMPDIR", str(folders))
    monkeypatch.setattr("tempfile.tempdir", None)
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    assert f"203/{name} has {size:,} bytes; expected at most" in refused(archive)
    assert memory("VmHWM") - before < 50
    assert not any(folders.iterdir())


def test_a_zip_bomb_that_hides_its_size(archive: Path) -> None:
    """The sizes in the list of members say 100 bytes; no more are unpacked."""
    packed(archive, "203/options.json", b" " * 2**27)
    content = bytearray(archive.read_bytes())
    for start, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = content.index(start) + offset
        assert struct.unpack_from("<I", content, place) == (2**27,)
        struct.pack_into("<I", content, place, 100)
    archive.write_bytes(content)
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    assert "203.zip" in refused(archive)
    assert memory("VmHWM") - before < 50


def test_names_in_a_zip_lead_nowhere(archive: Path, model: Path) -> None:
    with zipfile.ZipFile(archive, "w") as evil:
        evil.write(model / "options.json", "../../options.json")
        evil.write(model / "weights.hdf5", "/etc/weights.hdf5")
    before = sorted(archive.parent.rglob("*"))
    assert load_bilm(archive).embed([["a"]])[0].vectors.isfinite().all()
    assert sorted(archive.parent.rglob("*")) == before


def test_a_zip_with_a_password(archive: Path) -> None:
    content = bytearray(archive.read_bytes())
    for start, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = -1
        while (place := content.find(start, place + 1)) >= 0:
            content[place + offset] |= 1  # "encrypted"
    archive.write_bytes(content)
    assert "203.zip: a damaged zip" in refused(archive)
