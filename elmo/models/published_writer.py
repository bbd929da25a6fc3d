"""Writing biLMs in the published ELMo format: `options.json`, `weights.hdf5`, and their words.

The opposite of `elmo.models.published_weights`. The padding row of a table and the softmax have no
place in the format.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor, nn

from elmo.data.characters import character_ids
from elmo.data.text import SPECIAL_TOKENS
from elmo.errors import ArtifactError, ConfigError
from elmo.models.encoders import ElmoEncoder
from elmo.models.published_options import (
    DIRECTIONS,
    OPTIONS,
    WEIGHTS,
    Options,
    cell_name,
    identity_datasets,
)
from elmo.models.published_readers import limits_of_readers
from elmo.models.published_weights import GATES, VOCABULARY_MARKS
from elmo.modules.bilm import BiLM
from elmo.modules.characters import CHARACTERS, CharacterCNN
from elmo.modules.projected_lstm import FORGET_BIAS, ProjectedLSTM
from elmo.utils.files import new_folder, write_json, write_text

VOCABULARY, VOCABULARY_VECTORS = "vocab.txt", "vocab_embedding.hdf5"
WORDS_AT_A_TIME = 4096  # whose vectors are computed for `VOCABULARY_VECTORS`


def write_published(
    encoder: ElmoEncoder, folder: Path, vocabulary: Sequence[str] | None = None
) -> list[str]:
    """Write a biLM in the published format into a new folder, which is whole or not there.

    A linear map of the token vectors becomes part of what they are made of. All else is written as
    it is: a model that was loaded from this format gives every number back bit for bit.

    Args:
        encoder: the biLM, and its words where it reads whole words, which become `vocab.txt`.
        folder: a path where nothing is yet.
        vocabulary: words for which a model that reads characters also gets a cache of token
            vectors, as `dump_token_embeddings` of bilm-tf writes it; `<S>`, `</S>` and `<UNK>` are
            put first.

    Returns:
        Sentences: what the readers of old cannot open or do not do by themselves, and what is not
        in the files.

    Raises:
        ConfigError: the folder exists, or the biLM has no use for a vocabulary.
        ArtifactError: the biLM does not fit the format, or has weights that are not finite.
    """
    bilm = encoder.bilm
    if os.path.lexists(folder):
        raise ConfigError(f"{folder}: exists already; expected the name of a new folder")
    if vocabulary is not None and bilm.characters is None:
        raise ConfigError(
            "a vocabulary is for models that read characters; the words of this one are written "
            "without asking"
        )
    options = options_of(bilm)
    words, left_out = _lines(encoder, vocabulary)
    with new_folder(folder) as unfinished:
        if words is not None:
            write_text(unfinished / VOCABULARY, "".join(f"{word}\n" for word in words))
        written = len(words) if words is not None and options.characters is None else None
        write_json(unfinished / OPTIONS, _content(options, written))
        with h5py.File(unfinished / WEIGHTS, "w") as file:
            for name, tensor in _datasets(encoder, options, words):
                if not tensor.isfinite().all():
                    raise ArtifactError(
                        f"data set {name!r} would hold numbers that are not finite, so nothing is "
                        "written; training diverged"
                    )
                file.create_dataset(name, data=tensor.float().contiguous().numpy())
        if words is not None and isinstance(bilm.embedding, CharacterCNN):
            with h5py.File(unfinished / VOCABULARY_VECTORS, "w") as file:
                _write_vectors(file, bilm, bilm.embedding, words)
    sentences = [*limits_of_readers(encoder.tokenizer, options, vocabulary is not None), *left_out]
    if options.projection_clip != bilm.projection_clip:
        sentences.append(
            f"proj_clip is null, not {bilm.projection_clip}: without a projection it never acts, "
            "but AllenNLP and pytorch-fast-elmo would apply it."
        )
    return sentences


def options_of(bilm: BiLM) -> Options:
    """Return the options of a biLM.

    A clip below 1 that never acts, because there is no projection, is left out: the readers that
    expect an identity for a projection would apply it. One of 1 or more does nothing there either.

    Raises:
        ArtifactError: it maps the token vectors where the format has no place for it.
    """
    cnn, characters = bilm.embedding, None
    if isinstance(cnn, CharacterCNN):
        characters = {
            "char_dim": cnn.characters.embedding_dim,
            "filters": [[one.kernel_size[0], one.out_channels] for one in _convolutions(cnn)],
            "num_highways": len(cnn.highways),
            "activation": cnn.activation,
            "max_characters": cnn.max_characters,
        }
    options = Options(
        bilm.cell_dim or bilm.hidden_dim,
        bilm.hidden_dim,
        bilm.num_layers,
        bilm.cell_clip,
        bilm.projection_clip,
        bilm.residual,
        characters,
    )
    if not options.projected and (bilm.projection_clip or 1) < 1:
        options = options._replace(projection_clip=None)
    if options.num_filters == bilm.hidden_dim != bilm.embedding_dim:
        raise ArtifactError(
            f"it has {options.num_filters} character filters, as many as bilm.hidden_dim, and maps "
            f"them to embedding.dim={bilm.embedding_dim} in between; the published format has a "
            "map only where the two numbers differ; train with embedding.dim=bilm.hidden_dim"
        )
    return options


def _lines(
    encoder: ElmoEncoder, vocabulary: Sequence[str] | None
) -> tuple[list[str] | None, list[str]]:
    """Return the lines of the vocabulary, None for no file; and what to say of them."""
    reserved = set(SPECIAL_TOKENS)
    if vocabulary is None:
        if encoder.bilm.characters is not None:
            return None, []
        vocabulary = encoder.tokenizer.words[len(SPECIAL_TOKENS) :]
        reserved |= VOCABULARY_MARKS.keys()
    left_out = {
        word
        for word in vocabulary
        if word in reserved or [line.strip() for line in word.splitlines()] != [word]
    }
    kept = [word for word in vocabulary if word not in left_out]
    lines = list(dict.fromkeys([*VOCABULARY_MARKS, *kept]))
    if not left_out:
        return lines, []
    return lines, [
        f"{VOCABULARY} leaves out {len(left_out):,} words, such as {min(left_out)!r}: a line "
        "cannot hold them, or means something else."
    ]


def _content(options: Options, words: int | None) -> dict[str, Any]:
    """Return the content of `options.json`; `words` are those of a word-level model."""
    content: dict[str, Any] = {
        "lstm": {
            "use_skip_connections": options.skip,
            "projection_dim": options.projection_dim,
            "cell_clip": options.cell_clip,
            "proj_clip": options.projection_clip,
            "dim": options.dim,
            "n_layers": options.num_layers,
        }
    }
    if options.characters is None:
        return {**content, "n_tokens_vocab": words}
    content["char_cnn"] = {
        "activation": options.characters["activation"],
        "filters": options.characters["filters"],
        "n_highway": options.characters["num_highways"],
        "embedding": {"dim": options.characters["char_dim"]},
        "n_characters": CHARACTERS,
        "max_characters_per_token": options.characters["max_characters"],
    }
    return content


def _datasets(
    encoder: ElmoEncoder, options: Options, words: Sequence[str] | None
) -> Iterator[tuple[str, Tensor]]:
    """Yield the name and the content of each data set of `weights.hdf5`."""
    bilm = encoder.bilm
    if isinstance(bilm.embedding, CharacterCNN):
        yield from _character_datasets(bilm, bilm.embedding)
    else:
        assert words is not None
        ids = {word: number for number, word in enumerate(encoder.tokenizer.words)}
        ids |= VOCABULARY_MARKS
        table = _cpu(bilm.embedding.table.weight)[[ids[word] for word in words]]  # (V, E)
        yield "embedding", _folded(bilm, table.t()).t()  # (V, H)
    for direction, stack in zip(DIRECTIONS, (bilm.forward_lstm, bilm.backward_lstm), strict=True):
        for number, layer in enumerate(stack.layers):
            for name, tensor in _lstm_datasets(layer):
                yield f"{cell_name(direction, number)}/{name}", tensor
    for name, shape in identity_datasets(options).items():
        yield name, torch.eye(*shape)
        if name == "CNN_proj/W_proj":
            yield "CNN_proj/b_proj", torch.zeros(shape[1])


def _character_datasets(bilm: BiLM, cnn: CharacterCNN) -> Iterator[tuple[str, Tensor]]:
    yield "char_embed", _cpu(cnn.characters.weight)[1:]
    for number, convolution in enumerate(_convolutions(cnn)):
        yield f"CNN/W_cnn_{number}", _cpu(convolution.weight).permute(2, 1, 0).unsqueeze(0)
        yield f"CNN/b_cnn_{number}", _cpu(convolution.get_parameter("bias"))
    for number, highway in enumerate(cnn.highways):
        for gate in ("carry", "transform"):
            linear = highway.get_submodule(gate)
            yield f"CNN_high_{number}/W_{gate}", _cpu(linear.get_parameter("weight")).t()
            yield f"CNN_high_{number}/b_{gate}", _cpu(linear.get_parameter("bias"))
    if isinstance(cnn.projection, nn.Linear):
        weight, bias = _cpu(cnn.projection.weight), _cpu(cnn.projection.bias)
    elif isinstance(bilm.projection, nn.Linear):
        weight, bias = torch.eye(cnn.dim), torch.zeros(cnn.dim)
    else:
        return
    yield "CNN_proj/W_proj", _folded(bilm, weight).t()  # (F, H)
    yield "CNN_proj/b_proj", _folded(bilm, bias.unsqueeze(1)).squeeze(1)  # (H,)


def _folded(bilm: BiLM, columns: Tensor) -> Tensor:
    """Map columns (E, ...) to (H, ...) as the biLM maps token vectors."""
    if not isinstance(bilm.projection, nn.Linear):
        return columns
    return _cpu(bilm.projection.weight).double() @ columns.double()


def _lstm_datasets(layer: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the kernel, the bias and the projection of an LSTM layer."""
    inputs, recurrent = (_cpu(layer.get_parameter(f"weight_{name}_l0")) for name in ("ih", "hh"))
    kernel = torch.cat([inputs, recurrent], dim=1)  # (4 C, 2 H)
    yield "W_0", kernel.unflatten(0, (4, -1))[[*GATES]].flatten(0, 1).t()
    if isinstance(layer, ProjectedLSTM):
        gates = _cpu(layer.bias).unflatten(0, (4, -1))  # (4, C)
    else:
        biases = [_cpu(layer.get_parameter(f"bias_{name}_l0")).double() for name in ("ih", "hh")]
        gates = (biases[0] + biases[1]).unflatten(0, (4, -1))
        gates[1] -= FORGET_BIAS
    yield "B", gates[[*GATES]].flatten()
    if isinstance(layer, ProjectedLSTM) and layer.weight_hr_l0 is not None:
        yield "W_P_0", _cpu(layer.weight_hr_l0).t()


@torch.no_grad()
def _write_vectors(file: h5py.File, bilm: BiLM, cnn: CharacterCNN, words: Sequence[str]) -> None:
    """Write the token vectors (V, H) of words."""
    vectors = file.create_dataset("embedding", (len(words), bilm.hidden_dim), np.float32)
    for start in range(0, len(words), WORDS_AT_A_TIME):
        part = words[start : start + WORDS_AT_A_TIME]
        ids = np.stack([character_ids(word, cnn.max_characters) for word in part])  # (U, C)
        characters = torch.from_numpy(ids.astype(np.int64)).to(cnn.characters.weight.device)
        found = bilm.projection(cnn.word_vectors(characters))  # (U, H)
        vectors[start : start + len(part)] = found.float().cpu().numpy()


def _convolutions(cnn: CharacterCNN) -> list[nn.Conv1d]:
    return [one for one in cnn.filters if isinstance(one, nn.Conv1d)]


def _cpu(parameter: Tensor) -> Tensor:
    return parameter.detach().cpu()
