"""Augmentation: copies of train rows in which a language model has drawn some words anew."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from elmo.data.batches import Batch, EpochOrder, TokenBudgetBatches
from elmo.data.characters import character_ids
from elmo.data.classification_data import ClassificationData
from elmo.data.text import SPECIAL_TOKENS
from elmo.data.tokens import Copies, RowSubset, TokenizedSplit
from elmo.errors import ConfigError, check_range
from elmo.models.encoders import Encoder
from elmo.models.language_model import LanguageModel, load_language_model
from elmo.utils.cache import cached
from elmo.utils.tensor_files import state_checksum

TOKEN_BUDGET = 2048  # another one makes other batches, and so other copies


def predicted_copies(
    data: ClassificationData,
    encoder: Encoder,
    device: torch.device,
    copies: int,
    share: float,
    bilm_path: str | None = None,
) -> Copies:
    """Return copies of the labelled train rows in which some words are drawn from a biLM.

    Contextual augmentation (Kobayashi 2018, section 2.2, without the condition on the label): a
    word is drawn from what fits its context on both sides, here from the product of both
    directions. The word of the row may be drawn again. So where the context leaves no choice, as
    at most commas, nothing changes; `<unk>` may be replaced and is never drawn.

    The copies are kept in the cache, under a hash of all that they depend on.

    Args:
        data: whose seed the words are drawn by.
        encoder: of the classifier.
        device: computes the predictions.
        copies: of each row, beside the row itself, which stays as it is.
        share: of the words; the probability of each to be drawn anew.
        bilm_path: the `bilstm.pt` to draw from, or its run folder; None takes the biLM of the
            encoder, the first where there are several.

    Raises:
        ConfigError: a number is out of range, or there is no such language model, or it has another
            vocabulary than the encoder.
    """
    check_range({"augmentation.copies": copies}, at_least=1)
    check_range({"augmentation.share": share}, above=0, at_most=1)
    model = _language_model(data, encoder, bilm_path).to(device)
    rows = data.labelled_rows
    content = [
        data.corpus.fingerprint,
        data.tokenizer.fingerprint,
        data.max_tokens,
        hashlib.sha256(rows.tobytes()).hexdigest(),
        copies,
        share,
        data.seed,
        device.type,
        torch.get_num_threads(),
        torch.__version__,
    ]
    digest = hashlib.sha256(json.dumps(content).encode())
    key = state_checksum(model.state_dict(), digest)[:16]
    folder = data.corpus.cache_dir / "tokens" / f"{data.corpus.name}-{key}-copies"

    def build(path: Path) -> None:
        _build(path, RowSubset(data.splits["train"], rows), model, copies, share, data.seed)

    facts = json.loads((cached(folder, build) / "facts.json").read_text())
    recorded = {"copies": copies, "share": share, "replaced_words": facts["replaced_words"]}
    return Copies(TokenizedSplit(folder), key, recorded)


def _language_model(
    data: ClassificationData, encoder: Encoder, bilm_path: str | None
) -> LanguageModel:
    path = bilm_path or encoder.bilm_path
    if path is None:
        raise ConfigError(
            "augmentation=predictions draws words from a language model, and this encoder comes "
            "without one; name a bilstm.pt or its run folder with augmentation.bilm_path"
        )
    model = load_language_model(path)
    if model.tokenizer.fingerprint != data.tokenizer.fingerprint:
        raise ConfigError(
            f"augmentation: {path} has another vocabulary than the encoder; expected a biLM of the "
            "same data, set augmentation.bilm_path"
        )
    return model


def _build(
    folder: Path, rows: RowSubset, model: LanguageModel, copies: int, share: float, seed: int
) -> None:
    """Write the copies of N' rows as a `TokenizedSplit`: the first copy of each, the second, ..."""
    split = rows.data
    lengths = split.lengths[rows.rows]  # (N',)
    starts = np.cumsum(lengths) - lengths  # (N',)
    tokens = np.zeros((copies, lengths.sum()), dtype=np.int32)
    spellings = np.zeros_like(tokens)
    spelled = 0 if split.characters is None else len(split.characters)
    replaced = 0
    generator = torch.Generator().manual_seed(seed)  # of the CPU, the same on every machine
    batches = TokenBudgetBatches(EpochOrder(lengths, seed=None), TOKEN_BUDGET)
    for indices in tqdm(batches, desc="augmented copies", disable=None):
        batch = rows.__getitems__(indices)
        real = batch.mask.numpy()  # (B, T)
        places = (starts[indices][:, None] + np.arange(real.shape[1]))[real]  # (M,), M real tokens
        for copy in range(copies):
            drawn = _drawn(model, batch, share, generator)  # (B, T)
            changed = (drawn != batch.tokens).numpy()[real]  # (M,)
            tokens[copy, places] = drawn.numpy()[real]
            if batch.spellings is not None:
                numbers = batch.spellings.numbers[batch.spellings.places].numpy()[real]  # (M,)
                new = spelled + tokens[copy, places]
                spellings[copy, places] = np.where(changed, new, numbers)
            replaced += int(changed.sum())
    np.save(folder / "tokens.npy", tokens.ravel())
    np.save(folder / "offsets.npy", np.cumsum([0, *np.tile(lengths, copies)]))
    np.save(folder / "labels.npy", np.tile(split.labels.numpy()[rows.rows], copies))
    if split.characters is not None:  # followed by the spelling of each word that can be drawn
        width = split.characters.shape[1]
        words = np.stack([character_ids(word, width) for word in model.tokenizer.words])
        np.save(folder / "spellings.npy", spellings.ravel())
        np.save(folder / "characters.npy", np.concatenate([split.characters, words]))
    facts = {"cut_documents": 0, "replaced_words": replaced}
    (folder / "facts.json").write_text(json.dumps(facts))


@torch.no_grad()
def _drawn(model: LanguageModel, batch: Batch, share: float, generator: torch.Generator) -> Tensor:
    """Return the tokens (B, T) of a batch, a share of the words drawn anew."""
    positions = torch.arange(batch.tokens.shape[1])  # (T,)
    is_word = (positions > 0) & (positions < batch.lengths.unsqueeze(1) - 1)  # (B, T)
    chosen = is_word & (torch.rand(is_word.shape, generator=generator) < share)  # (B, T)
    if not chosen.any():
        return batch.tokens
    there = batch.to(next(model.parameters()).device)
    inputs = there.tokens, there.lengths, chosen.to(there.tokens.device), there.spellings
    log_probs = model.log_probs_between(*inputs).float().cpu()  # (n, V)
    log_probs[:, : len(SPECIAL_TOKENS)] = -torch.inf
    words = log_probs.softmax(1).multinomial(1, generator=generator)  # (n, 1)
    return batch.tokens.masked_scatter(chosen, words)
