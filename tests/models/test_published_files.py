"""Where the files of a published model may lie, and what is said of missing and damaged ones."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from elmo.errors import ArtifactError
from elmo.models.loading import load_bilm, load_encoder
from models.published_reference import CELL, arrays_of, options_of, write_model

CELL_0 = CELL.format(0, 0)
VOCABULARY = ["<S>", "</S>", "<UNK>", "the", "bank"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    options = options_of()
    return write_model(tmp_path / "model", options, arrays_of(options))


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """A model that reads whole words."""
    options = options_of(characters=False)
    arrays = arrays_of(options, len(VOCABULARY))
    return write_model(tmp_path / "words", options, arrays, VOCABULARY)


def vector(*places: Any, **options: Any) -> list[float]:
    (embedding,) = load_bilm(*places, **options).embed([["the", "river", "bank"]])
    return embedding.vectors.flatten().tolist()


def zipped(folder: Path, inside: str = "", compression: int = zipfile.ZIP_DEFLATED) -> Path:
    file = folder.parent / "203.zip"
    with zipfile.ZipFile(file, "w", compression) as archive:
        for part in sorted(folder.iterdir()):
            archive.write(part, inside + part.name)
    return file


def refused(load: Callable[[], object]) -> str:
    """The one line of the error."""
    with pytest.raises(ArtifactError) as caught:
        load()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("inside", ["", "203/", "embeddings/b/"])
@pytest.mark.parametrize("kind", ["model", "words"])
def test_every_place_gives_the_same_vectors(
    kind: str, inside: str, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(kind)
    expected = vector(folder)
    assert vector(str(folder)) == expected
    assert vector(zipped(folder, inside)) == expected
    assert vector(folder / "options.json") == expected
    apart = folder.parent / "apart"
    apart.mkdir()
    options = shutil.copy(folder / "options.json", apart / "a.json")
    weights = shutil.copy(folder / "weights.hdf5", apart / "b.h5")
    vocabulary = folder / "vocab.txt" if kind == "words" else None
    assert vector(options, weights, vocabulary=vocabulary) == expected


def test_other_names_and_files_beside_them(model: Path) -> None:
    expected = vector(model)
    (model / "options.json").rename(model / "elmo_2x1024_128_options.json")
    (model / "weights.hdf5").rename(model / "model.hdf5")
    for name in ("README", "meta.json", "vocab.txt", "LICENSE.txt"):
        (model / name).write_text("the\n")
    assert vector(model) == expected
    assert vector(zipped(model)) == expected
    assert vector(model / "elmo_2x1024_128_options.json") == expected


def test_token_vectors_in_a_file_of_their_own(words: Path) -> None:
    expected = vector(words)
    with h5py.File(words / "weights.hdf5", "a") as file:
        table = file["embedding"][()]
        del file["embedding"]
    with h5py.File(words / "vocab_embedding.hdf5", "w") as file:
        file["embedding"] = table
    assert vector(words) == expected
    assert vector(zipped(words)) == expected
    assert "data set 'embedding' is missing" in refused(
        lambda: load_bilm(
            words / "options.json", words / "weights.hdf5", vocabulary=words / "vocab.txt"
        )
    )
    (words / "vocab_embedding.hdf5").rename(words / "table")
    assert vector(words, embeddings=words / "table") == expected


def test_a_line_ends_where_python_ends_it(words: Path) -> None:
    """Not at every character that Unicode counts as a line break, as upstream does not either."""
    names = [*VOCABULARY[:4], "ba\u2028nk\x85s"]
    (words / "vocab.txt").write_bytes("\r\n".join(names).encode())
    encoder = load_bilm(words)
    assert encoder.tokenizer.words[4:] == names[3:]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("options.json", "expected one file of options*.json, found none"),
        ("weights.hdf5", "expected one file of weights (*.hdf5), found none"),
    ],
)
def test_a_missing_file(model: Path, name: str, message: str) -> None:
    options = model / "options.json"
    (model / name).rename(model / "renamed")
    if name == "weights.hdf5":
        assert message in refused(lambda: load_bilm(model))
        assert "no such file" in refused(lambda: load_bilm(options, model / name))
    assert message in refused(lambda: load_bilm(zipped(model)))


@pytest.mark.parametrize("name", ["no/model.zip", "no/options.json", "no"])
def test_a_model_that_is_not_there(name: str, tmp_path: Path) -> None:
    assert re.search(r"[Nn]o such file", refused(lambda: load_encoder(tmp_path / name)))
    if name != "no":  # which could be the folder of a run of our own
        assert re.search(r"[Nn]o such file", refused(lambda: load_bilm(tmp_path / name)))


def test_several_models_in_one_place(model: Path) -> None:
    for inside in ("a/", "b/"):  # the names alone do not tell
        for part in list(model.glob("*.*")):
            target = model / inside
            target.mkdir(exist_ok=True)
            shutil.copy(part, target)
    both = model.parent / "both.zip"
    with zipfile.ZipFile(both, "w") as archive:
        for part in model.glob("?/*"):
            archive.write(part, str(part.relative_to(model)))
    assert "expected one file of options*.json, found several" in refused(lambda: load_bilm(both))
    shutil.copy(model / "weights.hdf5", model / "more_weights.hdf5")
    message = refused(lambda: load_bilm(model))
    assert "found several: more_weights.hdf5, weights.hdf5" in message
    assert "load_bilm('options.json', 'weights.hdf5')" in message


VOCABULARIES = {
    "no <S>": (["</S>", "<UNK>", "a", "b", "c"], "has no line <S>"),
    "no </S>": (["<S>", "<UNK>", "a", "b", "c"], "has no line </S>"),
    "no <UNK>": (["<S>", "</S>", "a", "b", "c"], "has no line <UNK>"),
    "a word twice": ([*VOCABULARY[:4], "the"], "line 5: 'the' is there twice"),
    "a word of our own": ([*VOCABULARY[:4], "<unk>"], "line 5: '<unk>' is there twice, or reser"),
    "an empty line": ([*VOCABULARY[:3], "", "the"], "line 4: is empty"),
    "fewer words": (VOCABULARY[:4], "'embedding' has shape (5, 5), expected (4, 5)"),
    "more words": ([*VOCABULARY, "more"], "'embedding' has shape (5, 5), expected (6, 5)"),
}


@pytest.mark.parametrize("case", VOCABULARIES)
def test_a_vocabulary_that_cannot_be(case: str, words: Path, frugal: None) -> None:
    lines, message = VOCABULARIES[case]
    (words / "vocab.txt").write_text("".join(f"{line}\n" for line in lines))
    assert message in refused(lambda: load_bilm(words))


def test_a_vocabulary_that_is_missing_or_no_text(words: Path) -> None:
    (words / "vocab.txt").write_bytes(b"<S>\n</S>\n<UNK>\n\xff\nx\n")
    assert "not UTF-8" in refused(lambda: load_bilm(words))
    (words / "vocab.txt").unlink()
    assert "expected their vocabulary" in refused(lambda: load_bilm(words))
    missing = words / "vocab.txt"
    assert "No such file" in refused(lambda: load_bilm(words, vocabulary=missing))


def raw(text: str) -> Callable[[], str]:
    return lambda: text


def changed(section: str, **values: Any) -> Callable[[], str]:
    def text() -> str:
        options = options_of()
        options[section].update(values)
        return json.dumps(options)

    return text


def without(section: str, name: str) -> Callable[[], str]:
    def text() -> str:
        options = options_of()
        del options[section][name]
        return json.dumps(options)

    return text


OPTIONS: dict[str, tuple[Callable[[], str], str]] = {
    "empty": (raw(""), "not JSON"),
    "no JSON": (raw("{'lstm': 1}"), "not JSON"),
    "half": (raw('{"lstm": {"dim"'), "not JSON"),
    "nested without end": (raw("[" * 100_000), "not JSON"),
    "a number of many digits": (raw('{"lstm": ' + "9" * 5000 + "}"), "not JSON"),
    "not UTF-8": (raw("\udcff"), "not JSON"),
    "larger than options are": (raw(" " * (2**20 + 1)), "larger than 1 MiB"),
    "a list": (raw("[]"), "has no 'lstm'"),
    "a number": (raw("3"), "has no 'lstm'"),
    "nothing": (raw("{}"), "has no 'lstm'"),
    "a section that is a list": (raw('{"lstm": []}'), "has no 'lstm'"),
    "characters that are a list": (raw('{"lstm": {"dim": 1, "projection_dim": 1}, "char_cnn": []}'),
                                   "has no 'char_cnn'"),
    "no dim": (without("lstm", "dim"), "lstm.dim is None; expected a whole number"),
    "no projection_dim": (without("lstm", "projection_dim"), "lstm.projection_dim is None"),
    "no filters": (without("char_cnn", "filters"), "char_cnn.filters is None"),
    "no embedding": (without("char_cnn", "embedding"), "char_cnn.embedding is None"),
    "no activation": (without("char_cnn", "activation"), "char_cnn.activation is None"),
    "a wide projection": (changed("lstm", projection_dim=10), "projection_dim is 10; expected at"),
    "a text for a width": (changed("lstm", dim="9"), "lstm.dim is '9'"),
    "a fraction for a width": (changed("lstm", dim=9.0), "lstm.dim is 9.0"),
    "true for a width": (changed("lstm", dim=True), "lstm.dim is True"),
    "no width": (changed("lstm", projection_dim=0), "lstm.projection_dim is 0"),
    "a negative width": (changed("lstm", dim=-9), "lstm.dim is -9"),
    "a width beyond all": (changed("lstm", dim=2**40), "lstm.dim is 1099511627776"),
    "many layers": (changed("lstm", n_layers=65), "lstm.n_layers is 65; expected a whole number"),
    "no layers": (changed("lstm", n_layers=0), "lstm.n_layers is 0"),
    "a clip of 0": (changed("lstm", cell_clip=0), "lstm.cell_clip is 0, which readers take for"),
    "a clip of 0.0": (changed("lstm", proj_clip=0.0), "lstm.proj_clip is 0.0"),
    "a negative clip": (changed("lstm", proj_clip=-3), "lstm.proj_clip is -3"),
    "a clip that is no number": (changed("lstm", cell_clip=float("nan")), "lstm.cell_clip is nan"),
    "an infinite clip": (changed("lstm", cell_clip=float("inf")), "lstm.cell_clip is inf"),
    "a clip that is true": (changed("lstm", cell_clip=True), "lstm.cell_clip is True"),
    "a text for a skip": (changed("lstm", use_skip_connections="n"), "use_skip_connections is 'n'"),
    "other characters": (changed("char_cnn", n_characters=300), "char_cnn.n_characters is 300"),
    "another activation": (changed("char_cnn", activation="gelu"), "char_cnn.activation is 'gelu'"),
    "a list for an activation": (changed("char_cnn", activation=[]), "char_cnn.activation is []"),
    "filters of three numbers": (changed("char_cnn", filters=[[1, 2, 3]]), "char_cnn.filters is"),
    "filters that are a number": (changed("char_cnn", filters=7), "char_cnn.filters is 7"),
    "no filter at all": (changed("char_cnn", filters=[]), "char_cnn.filters is []"),
    "a filter without width": (changed("char_cnn", filters=[[0, 2]]), "char_cnn.filters is [[0"),
    "a filter wider than a word": (changed("char_cnn", filters=[[51, 2]]),
                                   "char_cnn.filters is [[51, 2]]"),
    "filters without end": (changed("char_cnn", filters=[[1, 1]] * 100_000), "char_cnn.filters"),
    "a negative highway": (changed("char_cnn", n_highway=-1), "char_cnn.n_highway is -1"),
    "a short word": (changed("char_cnn", max_characters_per_token=2), "characters_per_token is 2"),
    "no characters": (changed("char_cnn", embedding={"dim": 0}), "char_cnn.embedding.dim is 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", OPTIONS)
def test_options_that_cannot_be(case: str, model: Path, frugal: None) -> None:
    text, message = OPTIONS[case]
    (model / "options.json").write_bytes(text().encode(errors="surrogateescape"))
    for load in (lambda: load_bilm(model), lambda: load_bilm(zipped(model))):
        found = refused(load)
        assert message in found or "has 1,048,577 bytes; expected at most" in found
        assert len(found) < 400


def test_word_level_options_do_not_fit_a_zero_clip(words: Path) -> None:
    """Trap 9, where there are no characters."""
    options = options_of(characters=False, cell_clip=0)
    (words / "options.json").write_text(json.dumps(options))
    assert f"{words / 'options.json'}: lstm.cell_clip is 0" in refused(lambda: load_bilm(words))
