"""The vectors of words that are read as characters, each computed once."""

from __future__ import annotations

import torch

from elmo.data.batches import Batch
from elmo.data.characters import Spellings
from elmo.modules.characters import CharacterCNN


class WordVectors:
    """Replaces the characters of batches by the vectors of the words, each computed once.

    Args:
        embedding: makes the vectors.
    """

    def __init__(self, embedding: CharacterCNN) -> None:
        self.embedding = embedding
        weight = embedding.characters.weight
        self._vectors = weight.new_empty(
            0, embedding.dim
        )  # of all spellings so far, by number (N, E)
        self._known = torch.empty(0, dtype=torch.bool, device=weight.device)  # (N,)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Batch:
        assert batch.spellings is not None  # as the tokenizer of a biLM that reads characters
        characters, places, numbers = batch.spellings
        size = int(numbers[-1]) + 1  # they ascend
        if size > len(self._known):
            vectors = self._vectors.new_empty(2 * size, self.embedding.dim)
            known = characters.new_zeros(2 * size, dtype=torch.bool)
            count = len(self._known)
            vectors[:count], known[:count] = self._vectors, self._known
            self._vectors, self._known = vectors, known
        new = ~self._known[numbers]  # (U,)
        if new.any():
            self._vectors[numbers[new]] = self.embedding.word_vectors(characters[new])
            self._known[numbers] = True
        return batch._replace(spellings=Spellings(self._vectors[numbers], places, numbers))
