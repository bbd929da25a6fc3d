"""Models in the published ELMo format: found in a folder, a zip or single files, and loaded.

The format is that of `bilm-tf` and AllenNLP: options in JSON, weights in HDF5, and at word level a
vocabulary with a word on each line.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import torch

from elmo.data.text import SPECIAL_TOKENS, WordTokenizer
from elmo.errors import ArtifactError
from elmo.models.published_download import PUBLISHED, fetch
from elmo.models.published_options import (
    MAX_OPTIONS_BYTES,
    bytes_of,
    expected_bytes,
    identity_datasets,
    read_options,
)
from elmo.models.published_weights import VOCABULARY_MARKS, load_weights
from elmo.modules.bilm import BiLM

WEIGHTS = (".hdf5", ".h5")
MAX_VOCABULARY_BYTES = 2**30
# What zipfile raises, depending on which part of a file is damaged.
DAMAGED = (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, ValueError)
SLACK = 2**20  # bytes of an HDF5 file besides its numbers, generously
ADVICE = "name the files instead: load_bilm('options.json', 'weights.hdf5')"


class Files(NamedTuple):
    """The files of a model.

    Attributes:
        options: the JSON file.
        weights: the HDF5 file.
        vocabulary: words, one on each line; None where the model reads characters.
        embeddings: an HDF5 file with the token vectors of the vocabulary, where they are not in
            `weights`: those of a word-level model, or what a character model gave for these words.
    """

    options: Path
    weights: Path
    vocabulary: Path | None = None
    embeddings: Path | None = None


def is_published(path: Path) -> bool:
    """Tell whether a path is a folder or a zip with a model in the published format."""
    if path.is_dir():
        return any(_is_options(file.name) for file in path.iterdir())
    return path.is_file() and (path.suffix.lower() == ".zip" or _is_options(path.name))


def find_published(path: Path) -> Path:
    """Return the folder of a published model that `path` names, downloaded if need be.

    Any path that exists, or names none, is returned as it is.

    Raises:
        ArtifactError, ConfigError: see `elmo.models.published_download.fetch`.
    """
    return fetch(str(path)) if str(path) in PUBLISHED and not path.exists() else path


def load_published(
    path: Path,
    pre_tokenizer: str = "words",
    weights: Path | None = None,
    vocabulary: Path | None = None,
    embeddings: Path | None = None,
) -> tuple[WordTokenizer, BiLM]:
    """Load a model with the tokenizer that it needs: no lower-casing, no normalisation.

    Args:
        path: a folder or a zip; or the options file, with `weights`.
        pre_tokenizer: how texts are split into words, see `elmo.data.text.PATTERNS`.
        weights, vocabulary, embeddings: see `Files`; those that are None are looked for in the
            folder or zip. A model with characters reads them even where a vocabulary and its
            embeddings lie beside it, unless one of the two is named here.

    Raises:
        ArtifactError: a file is missing, damaged, or does not fit the others.
    """
    with contextlib.ExitStack() as stack:
        if weights is not None:
            files = Files(path, weights, vocabulary, embeddings)
        elif path.is_dir():
            files = _in_folder(path)
        elif path.suffix.lower() == ".zip":
            files = _in_zip(path, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        elif path.is_file():
            files = _in_folder(path.parent)._replace(options=path)
        else:
            raise ArtifactError(f"{path}: no such file or folder; expected a published ELMo model")
        files = files._replace(
            vocabulary=vocabulary or files.vocabulary, embeddings=embeddings or files.embeddings
        )
        named = vocabulary is not None or embeddings is not None
        return _load(files, pre_tokenizer, named)


def _load(files: Files, pre_tokenizer: str, named: bool) -> tuple[WordTokenizer, BiLM]:
    options = read_options(files.options)
    if named and files.embeddings is not None and files.vocabulary is not None:
        options = options._replace(characters=None)  # the vectors that its characters gave
    if options.characters is not None:
        tokenizer = WordTokenizer.of_words([], pre_tokenizer, options.characters["max_characters"])
        rows = None
    else:
        if files.vocabulary is None:
            raise ArtifactError(
                f"{files.options} has no char_cnn, so the model reads whole words; expected their "
                "vocabulary, a word on each line, as vocab.txt beside it or as vocabulary=FILE"
            )
        words, rows = read_vocabulary(files.vocabulary)
        tokenizer = WordTokenizer.of_words(words, pre_tokenizer)
    with torch.device("meta"):
        bilm = options.bilm(len(tokenizer))
    load_weights(bilm, options, files.weights, files.embeddings, rows)
    return tokenizer, bilm


def read_vocabulary(file: Path) -> tuple[list[str], list[int]]:
    """Read a vocabulary file.

    Returns:
        The words without `<S>`, `</S>` and `<UNK>`; and the lines, from 0, of these three, then of
        the words.

    Raises:
        ArtifactError: it is missing, is not UTF-8, lacks one of the three, or repeats a word.
    """
    places = {word: number for number, word in enumerate(read_words(file))}
    for mark in VOCABULARY_MARKS:
        if mark not in places:
            raise ArtifactError(
                f"{file}: has no line {mark}; expected {', '.join(VOCABULARY_MARKS)} and the words"
            )
    marks = [places.pop(mark) for mark in VOCABULARY_MARKS]
    return list(places), [*marks, *places.values()]


def read_words(file: Path) -> list[str]:
    """Read a file with a word on each line.

    Raises:
        ArtifactError: it is missing, is not UTF-8, or a line is empty, reserved or repeated.
    """
    try:
        if file.stat().st_size > MAX_VOCABULARY_BYTES:
            raise ArtifactError(f"{file}: larger than 1 GiB; expected a word on each line")
        text = file.read_text(encoding="utf-8").removesuffix("\n")
        lines = [line.strip() for line in text.split("\n")]
    except OSError as error:
        raise ArtifactError(f"{file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{file}: not UTF-8 ({error.reason}); expected words") from error
    seen: set[str] = set()
    for number, word in enumerate(lines):
        if word in seen or word in SPECIAL_TOKENS or not word:
            reason = "is empty" if not word else f"{word!r} is there twice, or reserved"
            raise ArtifactError(f"{file}, line {number + 1}: {reason}; expected a word of its own")
        seen.add(word)
    return lines


def _is_options(name: str) -> bool:
    return name.endswith(".json") and "options" in name


def _in_folder(folder: Path) -> Files:
    roles = _roles(sorted(file.name for file in folder.iterdir() if file.is_file()), folder)
    return Files(*(None if name is None else folder / name for name in roles))  # type: ignore[arg-type]


def _roles(names: Sequence[str], where: Path) -> tuple[str, str, str | None, str | None]:
    """Return which of the files are options, weights, vocabulary and token vectors.

    Raises:
        ArtifactError: options or weights are missing, or could be one of several.
    """
    options = [name for name in names if _is_options(name)]
    weights = [name for name in names if name.endswith(WEIGHTS) and "embedding" not in name]
    embeddings = [name for name in names if name.endswith(WEIGHTS) and "embedding" in name]
    weights = [name for name in weights if "weights" in name] or weights
    words = [name for name in names if name.endswith(".txt") and "vocab" in name]
    for title, found in (("options*.json", options), ("weights (*.hdf5)", weights)):
        if len(found) != 1:
            kind = f"several: {', '.join(found)}" if found else "none"
            raise ArtifactError(f"{where}: expected one file of {title}, found {kind}; {ADVICE}")
    for title, found in (("vocab*.txt", words), ("*embedding*.hdf5", embeddings)):
        if len(found) > 1:
            raise ArtifactError(f"{where}: several files {title}: {', '.join(found)}; {ADVICE}")
    return options[0], weights[0], next(iter(words), None), next(iter(embeddings), None)


def _in_zip(file: Path, into: Path) -> Files:
    """Unpack the files of a model from a zip, as the NLPL vector repository ships them.

    Args:
        file: the zip.
        into: an empty folder.

    Raises:
        ArtifactError: it is damaged, has no model, or a file in it has no size that can be.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            files_inside = [one for one in archive.infolist() if not one.is_dir()]
            names = [PurePosixPath(one.filename).name for one in files_inside]
            roles = _roles(sorted(names), file)
            members = dict(zip(names, files_inside, strict=True))
            found = dict(zip(Files._fields, roles, strict=True))
            files = {
                role: into / f"{role}{Path(name).suffix}" for role, name in found.items() if name
            }

            def unpack(role: str, limit: int) -> None:
                member = members[found[role] or ""]
                if member.file_size > limit:
                    raise ArtifactError(
                        f"{file}: {member.filename} has {member.file_size:,} bytes; expected at "
                        f"most {limit:,}"
                    )
                with archive.open(member) as source, files[role].open("wb") as target:
                    shutil.copyfileobj(source, target)

            unpack("options", MAX_OPTIONS_BYTES)
            options = read_options(files["options"])
            if "vocabulary" in files:
                unpack("vocabulary", MAX_VOCABULARY_BYTES)
            words = 0
            if "vocabulary" in files and (options.characters is None or "embeddings" in files):
                words = len(files["vocabulary"].read_bytes().splitlines())
            identities = bytes_of(identity_datasets(options))
            unpack("weights", expected_bytes(options, words) + identities + SLACK)
            if "embeddings" in files:
                unpack("embeddings", 4 * words * options.projection_dim + SLACK)
    except OSError as error:
        raise ArtifactError(f"{file}: cannot be unpacked: {error.strerror or error}") from error
    except DAMAGED as error:
        raise ArtifactError(
            f"{file}: a damaged zip ({error}); copy or download it again"
        ) from error
    return Files(**files)
