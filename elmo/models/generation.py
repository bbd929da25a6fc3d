"""Text that the language model writes: forward after a prompt, backward before it."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from elmo.data.text import BOS, EOS, SPECIAL_TOKENS, clean
from elmo.errors import ArtifactError, ConfigError, check_range
from elmo.models.language_model import LanguageModel

Direction = Literal["forward", "backward"]


@torch.no_grad()
def generate(
    model: LanguageModel,
    prompt: str,
    direction: Direction = "forward",
    temperature: float = 0.8,
    top_k: int | None = None,
    seed: int = 0,
    count: int = 5,
    max_words: int = 30,
) -> list[list[str]]:
    """Texts that begin with the prompt (forward), or that end with it (backward).

    A word is drawn from p^(1/temperature), normalised, until the document's own end, `</s>` or
    backward `<s>`, is drawn. Dropout is off; the model's mode and the global random numbers stay
    as they are.

    Args:
        prompt: cleaned and tokenised here; may be empty.
        direction: which of the two language models writes.
        temperature: 1 follows the model, less prefers its likely words, 0 takes the likeliest.
        top_k: draw among the k most probable words; None draws among all.
        seed: of the draws. A text does not depend on `count`, nor, up to rounding, on the device.
        count: texts to write.
        max_words: written to each text, at most.

    Returns:
        The words of each text in reading order, those of the prompt as they stand in it included.

    Raises:
        ConfigError: an argument cannot work.
        ArtifactError: the model gives no probabilities, because its training diverged.
    """
    _check(direction, temperature, top_k, seed, count, max_words)
    forward = direction == "forward"
    tokenizer = model.tokenizer
    (start,) = tokenizer.encode([clean(prompt)])
    # The backward model reads from the end: its prefix is </s> and the mirrored prompt.
    prefix: list[int] = start.ids[:-1].tolist() if forward else start.ids[:0:-1].tolist()
    bilm = model.bilm
    stack = bilm.forward_lstm if forward else bilm.backward_lstm
    end = EOS if forward else BOS
    # No target of pretraining is ever padding, nor the mark from which a direction starts: the
    # model has learned nothing of them. <unk> was one, but stands for words that nobody can read.
    allowed = torch.tensor([end, *range(len(SPECIAL_TOKENS), len(tokenizer))])
    # Drawn on the CPU, whose random numbers are the same everywhere.
    generator = torch.Generator().manual_seed(seed)
    device = next(model.parameters()).device
    texts = []
    with _evaluating(model):
        for _ in range(count):
            written: list[int] = []
            while len(written) < max_words:
                tokens = torch.tensor([prefix + written], device=device)  # (1, T)
                states = stack(bilm.projection(bilm.embedding(tokens)))[-1]  # (1, T, D/2)
                log_probs = model.softmax.log_prob(states[:, -1])[0].cpu().double()  # (V,)
                word = int(allowed[_draw(log_probs[allowed], temperature, top_k, generator)])
                if word == end:
                    break
                written.append(word)
            words = [tokenizer.words[word] for word in written]
            texts.append(start.words + words if forward else words[::-1] + start.words)
    return texts


def _check(
    direction: str, temperature: float, top_k: int | None, seed: int, count: int, max_words: int
) -> None:
    if direction not in ("forward", "backward"):
        raise ConfigError(f"direction is {direction!r}; expected 'forward' or 'backward'")
    check_range({"temperature": temperature}, at_least=0, below=math.inf)
    check_range({"seed": seed}, at_least=0, below=2**63)
    check_range({"top_k": top_k, "count": count, "max_words": max_words}, at_least=1)


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode, and afterwards every module in the mode in which it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _draw(
    log_probs: Tensor, temperature: float, top_k: int | None, generator: torch.Generator
) -> Tensor:
    """log_probs (V,) -> the position drawn, a scalar."""
    k = 1 if temperature == 0 else min(top_k or len(log_probs), len(log_probs))
    values, positions = log_probs.topk(k)  # best first
    if not values[0].isfinite():
        raise ArtifactError(
            "the language model gives no probabilities, its training diverged; pretrain again "
            "with a smaller optimizer.lr"
        )
    if k == 1:
        return positions[0]
    # The best is moved to 0 first, so that no temperature is too small to divide by.
    weights = ((values - values[0]) / temperature).softmax(0)
    return positions[weights.multinomial(1, generator=generator)[0]]


def join_words(words: Sequence[str]) -> str:
    """One line to read: punctuation and clitics close up to the words that they belong to."""
    text = " ".join(words)
    text = re.sub(r" (?=[,.;:!?)\]%]|'(?:s|t|re|ve|ll|d|m)\b)", "", text, flags=re.IGNORECASE)
    text = re.sub(r"(?<=[(\[$]) ", "", text)
    return re.sub(r'" (.+?) "', r'"\1"', text)  # from an opening mark to the closing one
