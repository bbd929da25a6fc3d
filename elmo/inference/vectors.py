"""Contextual vectors of any number of documents, written block by block into a file."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from elmo.errors import ConfigError, DataError
from elmo.inference.hdf5 import merge
from elmo.inference.vector_parts import Parts, Vectors
from elmo.inference.vector_reduction import Reduction, reduction, to_half
from elmo.models.artifacts import describe
from elmo.models.encoders import Encoder
from elmo.modules.mixers import Mixer
from elmo.utils.tensor_files import state_checksum
from elmo.utils.terminal import say

# A block is tokenized and sorted by length as one; a kill costs one at most.
BLOCK_DOCUMENTS = 4096
BLOCK_CHARACTERS = 2**20


def write_vectors(
    out: Path,
    read: Callable[[], Iterable[str]],
    encoder: Encoder,
    mixer: Mixer | None,
    layer: str,
    pool: str | None,
    half: bool,
) -> int:
    """Embed documents into an HDF5 file, in memory that does not grow with their number.

    `elmo.inference.hdf5` describes the file. Blocks that an interrupted run has finished are not
    embedded again.

    Args:
        out: the file; it does not exist yet.
        read: returns the documents; called twice.
        encoder: gives the layers.
        mixer, layer, pool: see `reduction`.
        half: store 16 bits per number instead of 32.

    Returns:
        The number of documents.

    Raises:
        ConfigError: `out` or `layer` cannot work, or parts with other settings exist.
        DataError: the documents changed between the two readings.
    """
    reduce = reduction(layer, pool, encoder.num_layers, mixer)
    before = Survey()
    for _ in before.count(read()):
        pass
    settings = {
        "model": fingerprint(encoder, mixer),
        "layer": layer,
        "pool": pool,
        "half": half,
        "documents": before.documents,
        "fingerprint of the documents": before.fingerprint,
        "block": [BLOCK_DOCUMENTS, BLOCK_CHARACTERS],
    }
    parts = Parts(out, settings)
    try:
        with parts:
            embed_blocks(parts, read(), before, encoder, reduce, half)
            say(f"{parts.folder}: all documents are embedded, writing {out}")
            if not merge(parts):
                say(f"{out}: without sentence_to_index, which would be larger than 2 GiB")
    except OSError as error:
        raise ConfigError(
            f"{out}: cannot be written ({error.strerror or error}); fix that and repeat the "
            f"command, finished parts are kept in {parts.folder}"
        ) from error
    return before.documents


def embed_blocks(
    parts: Parts,
    documents: Iterable[str],
    before: Survey,
    encoder: Encoder,
    reduce: Reduction,
    half: bool,
) -> None:
    """Embed the documents of all parts that are not finished yet.

    Args:
        before: the survey of the first reading.

    Raises:
        DataError: the documents have changed since then.
    """
    if done := sum(map(len, parts.finished())):
        say(f"{parts.folder}: {done:,} of {before.documents:,} documents are done, continuing")
    after = Survey()
    progress = Progress(before.documents, done)
    with progress.bar:
        start = 0
        for block in blocks(after.count(documents)):
            numbers = range(start, start + len(block))
            if not parts.has(numbers):
                found = embed_block(block, encoder, reduce, half)
                parts.write(numbers, block, progress.count(found))
            start = numbers.stop
    if after.fingerprint != before.fingerprint:
        raise DataError(
            f"the documents for {parts.out} changed while they were read; delete {parts.folder} "
            "and start again"
        )


def embed_block(
    block: list[str], encoder: Encoder, reduce: Reduction, half: bool
) -> Iterator[Vectors]:
    """Yield the reduced vectors of each document of a block, the shortest first."""
    for row, (tokens, layers) in encoder.embed_by_length(block):
        array = reduce(layers).numpy()
        yield Vectors(row, tokens, to_half(array) if half else array)


def blocks(documents: Iterable[str]) -> Iterator[list[str]]:
    """Yield blocks of documents in order, each as large as allowed and never empty."""
    block: list[str] = []
    characters = 0
    for text in documents:
        full = len(block) == BLOCK_DOCUMENTS or characters + len(text) > BLOCK_CHARACTERS
        if block and full:
            yield block
            block, characters = [], 0
        block.append(text)
        characters += len(text)
    if block:
        yield block


def fingerprint(encoder: Encoder, mixer: Mixer | None) -> str:
    """Return a hash of the weights, the vocabulary and the shapes of a model."""
    config = [encoder.config(), encoder.tokenizer.fingerprint]
    state = encoder.state_dict()
    if mixer is not None:
        config.append(describe(mixer))
        state |= {f"mixer.{name}": tensor for name, tensor in mixer.state_dict().items()}
    return state_checksum(state, hashlib.sha256(json.dumps(config).encode()))[:16]


class Survey:
    """The number of documents read, and a fingerprint of all of them."""

    def __init__(self) -> None:
        self.documents = 0
        self._digest = hashlib.sha256()

    def count(self, documents: Iterable[str]) -> Iterator[str]:
        """Count documents while they are passed on."""
        for text in documents:
            content = text.encode()
            self._digest.update(b"%d " % len(content) + content)  # "a", "b" is not "ab"
            self.documents += 1
            yield text

    @property
    def fingerprint(self) -> str:
        return self._digest.hexdigest()[:16]


class Progress:
    """A progress bar where standard error is a terminal: documents, time left, tokens/s."""

    def __init__(self, documents: int, done: int) -> None:
        self.bar = tqdm(total=documents, initial=done, unit=" documents", disable=None, smoothing=0)
        self.tokens = 0
        self.start = time.monotonic()

    def count(self, embedded: Iterable[Vectors]) -> Iterator[Vectors]:
        """Advance the bar while vectors are passed on."""
        for vectors in embedded:
            yield vectors
            self.tokens += len(vectors.tokens)
            rate = self.tokens / (time.monotonic() - self.start)
            self.bar.set_postfix_str(f"{rate:,.0f} tokens/s", refresh=False)
            self.bar.update()
