"""The weights of a published ELMo model, between its HDF5 file and a `BiLM`.

Kernels are input-major there and transposed here; gates are i, g, f, o there and i, f, g, o here.
The forget gate's 1 is added in the cell, so that no bias changes on the way (`ProjectedLSTM`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from elmo.data.text import BOS, EOS, SPECIAL_TOKENS, UNK
from elmo.errors import ArtifactError
from elmo.models.published_options import DIRECTIONS, Options, cell_name, expected_datasets
from elmo.modules.bilm import BiLM

ROWS = 4096  # of token vectors that are read at a time
GATES = (0, 2, 1, 3)  # where each gate of the file, i, g, f, o, is here
VOCABULARY_MARKS = {"<S>": BOS, "</S>": EOS, "<UNK>": UNK}  # of a vocabulary file
# What h5py raises, depending on which part of a file is damaged.
DAMAGED = (OSError, RuntimeError, KeyError, ValueError, TypeError)


class Datasets:
    """The checked data sets of an HDF5 file, which its C library parses.

    Args:
        file: the open file.
        shapes: what must be there, by name.

    Raises:
        ArtifactError: a data set is missing, is not plain float32 in this file, or has another
            shape; or one stands for several. Nothing is read before all are known to be good.
    """

    def __init__(self, file: h5py.File, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.name = file.filename
        self._found = {}
        for name, shape in shapes.items():
            try:
                self._found[name] = self._check(file, name, shape)
            except DAMAGED as error:
                raise ArtifactError(
                    f"{self.name}: data set {name!r} is damaged: {error}"
                ) from error
        size, needed = file.id.get_filesize(), sum(found.nbytes for found in self._found.values())
        if size < needed:  # a hard link costs nothing
            raise ArtifactError(
                f"{self.name}: has {size:,} bytes; expected at least {needed:,} by the options, so "
                "one data set stands for several"
            )

    def _check(self, file: h5py.File, name: str, shape: tuple[int, ...]) -> h5py.Dataset:
        found = _plain_dataset(file, name)
        where = f"{self.name}: data set {name!r}"
        if found is None and "/MultiRNNCell/Cell0" in name:  # bilm-tf's dump of a single layer
            found = _plain_dataset(file, name.replace("/MultiRNNCell/Cell0", ""))
        if found is None:
            raise ArtifactError(
                f"{where} is missing, or is a link; expected the weights that the options describe"
            )
        if found.shape != shape:
            raise ArtifactError(f"{where} has shape {found.shape}, expected {shape} by the options")
        if found.dtype != np.float32:
            raise ArtifactError(f"{where} has dtype {found.dtype}, expected float32")
        if found.is_virtual or found.external or found.id.get_storage_size() != found.nbytes:
            raise ArtifactError(
                f"{where} is not whole in this file (virtual, external, compressed or cut); "
                "expected plain numbers"
            )
        return found

    def read(self, name: str, part: slice | tuple = ()) -> Tensor:
        """Read a data set, or a part of it.

        Raises:
            ArtifactError: it cannot be read, or holds a number that is not finite.
        """
        try:
            values = torch.from_numpy(self._found[name][part])
        except DAMAGED as error:
            raise ArtifactError(
                f"{self.name}: data set {name!r} cannot be read: {error}"
            ) from error
        if not torch.stack(values.aminmax()).isfinite().all():  # takes no memory; NaN stays NaN
            raise ArtifactError(
                f"{self.name}: data set {name!r} holds numbers that are not finite; download it "
                "again"
            )
        return values


def _plain_dataset(file: h5py.File, name: str) -> h5py.Dataset | None:
    """Return a data set that is reached by hard links alone; None if there is none."""
    group: h5py.Group = file
    *groups, last = name.split("/")
    for part in groups:
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            return None
        inner = group[part]
        if not isinstance(inner, h5py.Group):
            return None
        group = inner
    if not isinstance(group.get(last, getlink=True), h5py.HardLink):
        return None
    found = group[last]
    return found if isinstance(found, h5py.Dataset) else None


def open_weights(file: Path) -> h5py.File:
    """Open an HDF5 file.

    Raises:
        ArtifactError: it is not one, or is truncated.
    """
    if not file.is_file():
        raise ArtifactError(f"{file}: no such file; expected the HDF5 file of the weights")
    try:
        return h5py.File(file, "r")
    except DAMAGED as error:
        reason = "truncated" if "truncated" in str(error) else "not an HDF5 file"
        raise ArtifactError(f"{file}: {reason}; copy or download it again") from error


def load_weights(
    bilm: BiLM, options: Options, weights: Path, embeddings: Path | None, rows: list[int] | None
) -> None:
    """Fill a biLM that is on the meta device.

    Args:
        bilm: what `options.bilm` built.
        options: its shape.
        weights: the HDF5 file.
        embeddings: the HDF5 file of the token vectors at word level, where it is another.
        rows: at word level the rows of the token vectors, see `elmo.models.published`.

    Raises:
        ArtifactError: a file is damaged or does not fit the options.
    """
    words = None if rows is None else len(rows)
    state: dict[str, Tensor] = {}
    with open_weights(weights) as file:
        sets = Datasets(file, expected_datasets(options, None if embeddings else words))
        state |= _lstm_state(sets, options)
        if rows is None:
            state |= _character_state(sets, options)
        elif embeddings is None:
            state["embedding.table.weight"] = _table(sets, rows, options.projection_dim)
    if rows is not None and embeddings is not None:
        with open_weights(embeddings) as file:
            sets = Datasets(file, {"embedding": (len(rows), options.projection_dim)})
            state["embedding.table.weight"] = _table(sets, rows, options.projection_dim)
    bilm.load_state_dict(state, assign=True)


def _table(sets: Datasets, rows: list[int], width: int) -> Tensor:
    """Return the table of token vectors (V, H), whose row 0 is padding; H = `width`."""
    table = torch.zeros(len(rows) + 1, width)
    ids = torch.empty(len(rows), dtype=torch.long)  # of each line of the vocabulary
    ids[rows] = torch.tensor([*VOCABULARY_MARKS.values(), *range(len(SPECIAL_TOKENS), len(table))])
    for start in range(0, len(rows), ROWS):  # not all at once: it may be most of the model
        part = slice(start, start + ROWS)
        table[ids[part]] = sets.read("embedding", part)
    return table


def _lstm_state(sets: Datasets, options: Options) -> Iterator[tuple[str, Tensor]]:
    """Yield the names and weights of both stacks."""
    c, h = options.dim, options.projection_dim
    for direction, stack in zip(DIRECTIONS, ("forward_lstm", "backward_lstm"), strict=True):
        for layer in range(options.num_layers):
            cell = cell_name(direction, layer)
            ours = f"{stack}.layers.{layer}"
            matrices = torch.empty(2, 4, c, h)  # of the input and of the state before
            bias = torch.empty(4, c)
            for place, gate in enumerate(GATES):  # one at a time: a kernel is large
                columns = slice(place * c, (place + 1) * c)
                kernel = sets.read(f"{cell}/W_0", (slice(None), columns))  # (2 H, C)
                matrices[:, gate] = kernel.view(2, h, c).transpose(1, 2)
                bias[gate] = sets.read(f"{cell}/B", columns)
            yield f"{ours}.weight_ih_l0", matrices[0].flatten(0, 1)
            yield f"{ours}.weight_hh_l0", matrices[1].flatten(0, 1)
            yield f"{ours}.bias", bias.flatten()
            if options.projected:
                yield f"{ours}.weight_hr_l0", sets.read(f"{cell}/W_P_0").t().contiguous()


def _character_state(sets: Datasets, options: Options) -> Iterator[tuple[str, Tensor]]:
    """Yield the names and weights of the character CNN."""
    assert options.characters is not None
    embedded = sets.read("char_embed")
    yield "embedding.characters.weight", torch.cat([torch.zeros_like(embedded[:1]), embedded])
    for number in range(len(options.characters["filters"])):
        kernel = sets.read(f"CNN/W_cnn_{number}")[0]  # (width, d, n)
        yield f"embedding.filters.{number}.weight", kernel.permute(2, 1, 0).contiguous()
        yield f"embedding.filters.{number}.bias", sets.read(f"CNN/b_cnn_{number}")
    linears = [
        (f"highways.{number}.{gate}", f"CNN_high_{number}", gate)
        for number in range(options.characters["num_highways"])
        for gate in ("carry", "transform")
    ]
    if options.num_filters != options.projection_dim:
        linears.append(("projection", "CNN_proj", "proj"))
    for ours, group, name in linears:
        yield f"embedding.{ours}.weight", sets.read(f"{group}/W_{name}").t().contiguous()
        yield f"embedding.{ours}.bias", sets.read(f"{group}/b_{name}")
