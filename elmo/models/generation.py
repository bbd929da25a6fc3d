"""Text generation by the language model: forward after a prompt, or backward before it."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from elmo.data.characters import Spellings, lexicon_for, spellings_of
from elmo.data.text import BOS, EOS, SPECIAL_TOKENS, WordTokenizer, clean
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
    """Generate texts that begin with the prompt (forward), or that end with it (backward).

    Words are drawn from p^(1/temperature), normalised, until the mark that ends the text is drawn:
    `</s>`, or backward `<s>`. Dropout is off. The mode of the model and the global random state do
    not change.

    Args:
        model: the language model.
        prompt: cleaned and tokenized here; may be empty.
        direction: which of the two language models generates.
        temperature: 1 follows the model, less prefers its probable words, 0 always takes the most
            probable word.
        top_k: draw from the k most probable words; None draws from all.
        seed: seed of the draws. A text does not depend on `count`, nor, up to rounding, on the
            device.
        count: number of texts.
        max_words: largest number of words generated for each text.

    Returns:
        The words of each text in reading order, including the words of the prompt unchanged.

    Raises:
        ConfigError: an argument is out of range.
        ArtifactError: the model gives no probabilities because its training diverged.
    """
    _check(direction, temperature, top_k, seed, count, max_words)
    forward = direction == "forward"
    tokenizer = model.tokenizer
    (start,) = tokenizer.encode([clean(prompt)])
    # The backward model reads from the end: its prefix is </s> and the reversed prompt.
    prefix: list[int] = start.ids[:-1].tolist() if forward else start.ids[:0:-1].tolist()
    bilm = model.bilm
    stack = bilm.forward_lstm if forward else bilm.backward_lstm
    end = EOS if forward else BOS
    # Padding and the mark from which a direction starts are never targets in pretraining, so their
    # probabilities mean nothing. <unk> is a target, but nobody can read it.
    allowed = torch.tensor([end, *range(len(SPECIAL_TOKENS), len(tokenizer))])
    # Words are drawn on the CPU, where a seed gives the same random numbers on every machine.
    generator = torch.Generator().manual_seed(seed)
    device = next(model.parameters()).device
    texts = []
    with _eval_mode(model):
        for _ in range(count):
            generated: list[int] = []
            while len(generated) < max_words:
                tokens = torch.tensor([prefix + generated], device=device)  # (1, T)
                words = _words_read(tokenizer, start.words, generated, forward)
                spellings = _spellings(tokenizer, words, forward, device)
                states = stack(bilm.token_vectors(tokens, spellings))[-1]  # (1, T, D/2)
                log_probs = model.softmax.log_prob(states[:, -1])[0].cpu().double()  # (V,)
                word = int(allowed[_draw(log_probs[allowed], temperature, top_k, generator)])
                if word == end:
                    break
                generated.append(word)
            texts.append(_words_read(tokenizer, start.words, generated, forward))
    return texts


def _words_read(
    tokenizer: WordTokenizer, prompt: list[str], generated: list[int], forward: bool
) -> list[str]:
    """Return the words of the prompt and the generated ones in reading order."""
    words = [tokenizer.words[word] for word in generated]
    return prompt + words if forward else words[::-1] + prompt


def _spellings(
    tokenizer: WordTokenizer, words: list[str], forward: bool, device: torch.device
) -> Spellings | None:
    """Return the spellings of a prefix in the order in which its direction reads it.

    None where the model reads word ids.
    """
    lexicon = lexicon_for(tokenizer)
    if lexicon is None:
        return None
    numbers = torch.from_numpy(lexicon.spell(words))  # (T + 1,), with both marks
    prefix = numbers[:-1] if forward else numbers.flip(0)[:-1]  # (T,)
    return spellings_of(prefix.unsqueeze(0), lexicon.characters()).to(device)


def _check(
    direction: str, temperature: float, top_k: int | None, seed: int, count: int, max_words: int
) -> None:
    if direction not in ("forward", "backward"):
        raise ConfigError(f"direction is {direction!r}; expected 'forward' or 'backward'")
    check_range({"temperature": temperature}, at_least=0, below=math.inf)
    check_range({"seed": seed}, at_least=0, below=2**63)
    check_range({"top_k": top_k, "count": count, "max_words": max_words}, at_least=1)


@contextlib.contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    """Set eval mode; afterwards set every module back to its previous mode."""
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
    """Draw a position (a scalar) from log-probabilities (N,) that need not be normalised."""
    k = 1 if temperature == 0 else min(top_k or len(log_probs), len(log_probs))
    values, positions = log_probs.topk(k)  # best first
    if not values[0].isfinite():
        raise ArtifactError(
            "the language model gives no probabilities because its training diverged; pretrain "
            "again with a smaller optimizer.lr"
        )
    if k == 1:
        return positions[0]
    # The best value is shifted to 0 first, so that no temperature is too small to divide by.
    weights = ((values - values[0]) / temperature).softmax(0)
    return positions[weights.multinomial(1, generator=generator)[0]]


def join_words(words: Sequence[str]) -> str:
    """Join words to one line, with punctuation and clitics attached to the words next to them."""
    text = " ".join(words)
    text = re.sub(r" (?=[,.;:!?)\]%]|'(?:s|t|re|ve|ll|d|m)\b)", "", text, flags=re.IGNORECASE)
    text = re.sub(r"(?<=[(\[$]) ", "", text)
    return re.sub(r'" (.+?) "', r'"\1"', text)  # inside a pair of quotation marks
