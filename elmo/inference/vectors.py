"""Contextual vectors of any number of documents, embedded block by block into a file."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from elmo.errors import ConfigError, DataError
from elmo.inference.vector_file import merge
from elmo.inference.vector_parts import Parts, Vectors
from elmo.inference.vector_reduction import Reduction, halved, reduction
from elmo.models.artifacts import describe, state_checksum
from elmo.models.encoders import Encoder
from elmo.modules.mixers import Mixer
from elmo.utils.terminal import say

# A block is tokenised and sorted by length as one; a kill costs one at most.
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
    """Embed documents into an HDF5 file, see `elmo.inference.vector_file`; memory does not grow with them.

    Finished blocks of a run that was stopped are not embedded again.

    Args:
        out: the file, not there yet.
        read: gives the documents; called twice.
        encoder: gives the layers.
        mixer, layer, pool: see `reduction`.
        half: store 16 bits a number instead of 32.

    Returns:
        The number of documents.

    Raises:
        ConfigError: `out` or `layer` cannot be, or parts of other settings are there.
        DataError: the documents changed between the two readings.
    """
    reduce = reduction(layer, pool, encoder.num_layers, mixer)
    before = Survey()
    for _ in before.passing(read()):
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
            say(f"{parts.folder}: all documents are done, making {out} of them")
            if not merge(parts):
                say(f"{out}: without sentence_to_index, which would be larger than 2 GiB")
    except OSError as error:
        raise ConfigError(
            f"{out}: cannot be written ({error.strerror or error}); mend that and give the same "
            f"command again, what is finished stays in {parts.folder}"
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
    """Finish the parts that are not there yet.

    Raises:
        DataError: the documents are not those of the survey `before`.
    """
    if done := sum(map(len, parts.finished())):
        say(f"{parts.folder}: {done:,} of {before.documents:,} documents are done, going on")
    after = Survey()
    progress = Progress(before.documents, done)
    with progress.bar:
        start = 0
        for block in blocks(after.passing(documents)):
            numbers = range(start, start + len(block))
            if not parts.has(numbers):
                found = embed_block(block, encoder, reduce, half)
                parts.write(numbers, block, progress.passing(found))
            start = numbers.stop
    if after.fingerprint != before.fingerprint:
        raise DataError(
            f"the documents for {parts.out} changed while they were read; delete {parts.folder} "
            "and start again"
        )


def embed_block(
    block: list[str], encoder: Encoder, reduce: Reduction, half: bool
) -> Iterator[Vectors]:
    for row, (tokens, layers) in encoder.embed_by_length(block):
        array = reduce(layers).numpy()
        yield Vectors(row, tokens, halved(array) if half else array)


def blocks(documents: Iterable[str]) -> Iterator[list[str]]:
    """As many documents as a block may hold, one at least, in their order."""
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
    """Of the weights, the vocabulary and the shape of what gives the vectors."""
    config = [encoder.config(), encoder.tokenizer.fingerprint]
    state = encoder.state_dict()
    if mixer is not None:
        config.append(describe(mixer))
        state |= {f"mixer.{name}": tensor for name, tensor in mixer.state_dict().items()}
    return state_checksum(state, hashlib.sha256(json.dumps(config).encode()))[:16]


class Survey:
    """How many documents passed, and a fingerprint of all of them."""

    def __init__(self) -> None:
        self.documents = 0
        self._digest = hashlib.sha256()

    def passing(self, documents: Iterable[str]) -> Iterator[str]:
        for text in documents:
            content = text.encode()
            self._digest.update(b"%d " % len(content) + content)  # "a", "b" is not "ab"
            self.documents += 1
            yield text

    @property
    def fingerprint(self) -> str:
        return self._digest.hexdigest()[:16]


class Progress:
    """A bar where standard error is a terminal: documents, time left, tokens per second."""

    def __init__(self, documents: int, done: int) -> None:
        self.bar = tqdm(total=documents, initial=done, unit=" documents", disable=None, smoothing=0)
        self.tokens = 0
        self.start = time.monotonic()

    def passing(self, found: Iterable[Vectors]) -> Iterator[Vectors]:
        for vectors in found:
            yield vectors
            self.tokens += len(vectors.tokens)
            rate = self.tokens / (time.monotonic() - self.start)
            self.bar.set_postfix_str(f"{rate:,.0f} tokens/s", refresh=False)
            self.bar.update()
