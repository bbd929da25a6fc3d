"""The options of a published ELMo model, and the data sets that its weights must have.

The format is that of `bilm-tf` and AllenNLP: `options.json`, and one HDF5 file of weights.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from elmo.errors import ArtifactError
from elmo.modules.bilm import MAX_LAYERS, BiLM
from elmo.modules.characters import ACTIVATIONS, CHARACTERS, is_filter

MAX_WIDTH = 2**17  # of anything in the options
MAX_FILTERS = 256  # kinds of them; published models have 7
MAX_OPTIONS_BYTES = 2**20
OPTIONS, WEIGHTS = "options.json", "weights.hdf5"  # the names of the files that are written
DIRECTIONS = ("RNN_0", "RNN_1")  # forward, backward


class Options(NamedTuple):
    """What `options.json` says of the shape of a model.

    Attributes:
        dim: C, width of the cells.
        projection_dim: H, width of one direction.
        num_layers: LSTM layers of each direction.
        cell_clip, projection_clip: bounds; None for none.
        skip: whether a layer adds its input to its output, from the second layer on.
        characters: arguments of a `CharacterCNN`; None at word level.
    """

    dim: int
    projection_dim: int
    num_layers: int
    cell_clip: float | None
    projection_clip: float | None
    skip: bool
    characters: dict[str, Any] | None

    @property
    def projected(self) -> bool:
        """Whether the output of a cell is projected, and so clipped."""
        return self.projection_dim < self.dim

    @property
    def num_filters(self) -> int:
        """F, the filters of the character CNN; 0 at word level."""
        return sum(count for _, count in self.characters["filters"]) if self.characters else 0

    def bilm(self, vocab_size: int) -> BiLM:
        """Build a biLM of this shape, with new weights.

        Args:
            vocab_size: V, with the four special words.
        """
        return BiLM(
            vocab_size,
            embedding_dim=self.projection_dim,
            hidden_dim=self.projection_dim,
            num_layers=self.num_layers,
            dropout=0.0,
            residual=self.skip,
            characters=self.characters,
            cell_dim=self.dim,
            cell_clip=self.cell_clip,
            projection_clip=self.projection_clip,
        )


def read_options(file: Path) -> Options:
    """Read and check an options file.

    Raises:
        ArtifactError: it is not one, or describes a model that cannot be.
    """
    try:
        if file.stat().st_size > MAX_OPTIONS_BYTES:
            raise ArtifactError(f"{file}: larger than 1 MiB, so not the options of a model")
        content = json.loads(file.read_text())
    except OSError as error:
        raise ArtifactError(f"{file}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{file}: not JSON ({error}); expected the options of a model"
        ) from None
    try:
        return parse_options(content)
    except ArtifactError as error:
        raise ArtifactError(f"{file}: {error}") from None


def parse_options(content: Any) -> Options:
    """Check the content of an options file.

    Raises:
        ArtifactError: a key is missing or has a value that cannot be.
    """
    lstm = _section(content, "lstm")
    dim = _number(lstm, "lstm.dim")
    projection_dim = _number(lstm, "lstm.projection_dim")
    if projection_dim > dim:
        raise ArtifactError(
            f"lstm.projection_dim is {projection_dim}; expected at most lstm.dim, {dim}"
        )
    skip = lstm.get("use_skip_connections", False)
    if not isinstance(skip, bool):
        raise ArtifactError(f"lstm.use_skip_connections is {skip!r:.80}; expected true or false")
    characters = None
    if content.get("char_cnn") is not None:
        characters = _characters(_section(content, "char_cnn"))
    return Options(
        dim,
        projection_dim,
        _number(lstm, "lstm.n_layers", default=1, at_most=MAX_LAYERS),
        _clip(lstm, "lstm.cell_clip"),
        _clip(lstm, "lstm.proj_clip"),
        skip,
        characters,
    )


def _section(content: Any, name: str) -> Mapping[str, Any]:
    section = content.get(name) if isinstance(content, dict) else None
    if not isinstance(section, dict):
        raise ArtifactError(f"has no {name!r}; expected the options of a published ELMo model")
    return section


def _number(
    section: Mapping[str, Any],
    key: str,
    default: int | None = None,
    at_least: int = 1,
    at_most: int = MAX_WIDTH,
) -> int:
    """Return a whole number of a section.

    Args:
        key: the section and the name in it.
        default: where it is missing or null; None for an error.
        at_least, at_most: the range.

    Raises:
        ArtifactError: it is something else.
    """
    value = section.get(key.rpartition(".")[2])
    value = default if value is None else value
    if type(value) is not int or not at_least <= value <= at_most:
        raise ArtifactError(
            f"{key} is {value!r:.80}; expected a whole number, {at_least} to {at_most}"
        )
    return value


def _clip(section: Mapping[str, Any], key: str) -> float | None:
    """Return a bound.

    Raises:
        ArtifactError: it is not positive: TensorFlow clips to 0 where AllenNLP does not clip.
    """
    value = section.get(key.rpartition(".")[2])
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e30:
        raise ArtifactError(
            f"{key} is {value!r:.80}, which readers take for different things; expected a number "
            "above 0, or null for no clip"
        )
    return float(value)


def _characters(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the character CNN."""
    _number(section, "char_cnn.n_characters", CHARACTERS, CHARACTERS - 1, CHARACTERS)
    embedding = section.get("embedding")
    if not isinstance(embedding, dict):
        raise ArtifactError(f"char_cnn.embedding is {embedding!r:.80}; expected {{'dim': d}}")
    max_characters = _number(section, "char_cnn.max_characters_per_token", 50, at_least=3)
    filters = section.get("filters")
    if (
        not isinstance(filters, list)
        or not 1 <= len(filters) <= MAX_FILTERS
        or not all(is_filter(pair, max_characters) and pair[1] <= MAX_WIDTH for pair in filters)
    ):
        raise ArtifactError(
            f"char_cnn.filters is {filters!r:.80}; expected [[width, n], ...], at most "
            f"{MAX_FILTERS}, with widths of 1 to {max_characters}"
        )
    activation = section.get("activation")
    if activation not in list(ACTIVATIONS):
        raise ArtifactError(f"char_cnn.activation is {activation!r:.80}; expected relu or tanh")
    return {
        "char_dim": _number(embedding, "char_cnn.embedding.dim"),
        "filters": filters,
        "num_highways": _number(section, "char_cnn.n_highway", 0, at_least=0, at_most=MAX_LAYERS),
        "activation": activation,
        "max_characters": max_characters,
    }


def expected_datasets(options: Options, words: int | None = None) -> dict[str, tuple[int, ...]]:
    """Return the name and the shape of each data set that a model must have.

    Args:
        words: lines of the vocabulary of a word-level model; None leaves out its `embedding`.
    """
    c, h, f = options.dim, options.projection_dim, options.num_filters
    shapes: dict[str, tuple[int, ...]] = {}
    if options.characters is None:
        if words is not None:
            shapes["embedding"] = (words, h)
    else:
        d = options.characters["char_dim"]
        shapes["char_embed"] = (CHARACTERS - 1, d)
        for number, (width, count) in enumerate(options.characters["filters"]):
            shapes[f"CNN/W_cnn_{number}"] = (1, width, d, count)
            shapes[f"CNN/b_cnn_{number}"] = (count,)
        for number in range(options.characters["num_highways"]):
            for gate in ("carry", "transform"):
                shapes[f"CNN_high_{number}/W_{gate}"] = (f, f)
                shapes[f"CNN_high_{number}/b_{gate}"] = (f,)
        if f != h:
            shapes["CNN_proj/W_proj"] = (f, h)
            shapes["CNN_proj/b_proj"] = (h,)
    for direction in DIRECTIONS:
        for layer in range(options.num_layers):
            cell = cell_name(direction, layer)
            shapes[f"{cell}/W_0"] = (2 * h, 4 * c)
            shapes[f"{cell}/B"] = (4 * c,)
            if options.projected:
                shapes[f"{cell}/W_P_0"] = (c, h)
    return shapes


def identity_datasets(options: Options) -> dict[str, tuple[int, ...]]:
    """Return the name and the shape of each data set that a model may have, but does not need.

    They are the maps that change nothing, because their input and output are equally wide. AllenNLP
    expects them.
    """
    h = options.projection_dim
    shapes: dict[str, tuple[int, ...]] = {}
    if options.num_filters == h:
        shapes["CNN_proj/W_proj"] = (h, h)
    if not options.projected:
        for direction in DIRECTIONS:
            for layer in range(options.num_layers):
                shapes[f"{cell_name(direction, layer)}/W_P_0"] = (h, h)
    return shapes


def cell_name(direction: str, layer: int) -> str:
    """Return the group of a layer, from 0, of one of `DIRECTIONS`."""
    return f"{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"


def expected_bytes(options: Options, words: int) -> int:
    """Return the bytes of all weights; `words` as in `expected_datasets`."""
    return bytes_of(expected_datasets(options, words or None))


def bytes_of(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return the bytes of data sets with these shapes."""
    return sum(4 * math.prod(shape) for shape in shapes.values())
