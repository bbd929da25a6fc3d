"""`elmo generate`: text written by a pretrained language model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from elmo.commands import base
from elmo.utils.terminal import say

if TYPE_CHECKING:
    from elmo.data.text import WordTokenizer


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `elmo generate`.

    Raises:
        ElmoError: the model or the options cannot be used.
    """
    args = _parser().parse_args(arguments)

    from elmo.models.generation import generate, join_words
    from elmo.models.language_model import load_language_model

    device = base.device(args)
    model = load_language_model(base.model_path(args, "bilm"), device)
    if unknown := _unknown_words(model.tokenizer, args.prompt):
        say(f"not in the vocabulary, read as <unk>: {', '.join(unknown)}")
    texts = generate(
        model,
        args.prompt,
        direction=args.direction,
        temperature=args.temperature,
        top_k=args.top_k,
        seed=args.seed,
        count=args.count,
        max_words=args.max_words,
    )
    for words in texts:
        print(join_words(words))


def _parser() -> argparse.ArgumentParser:
    parser = base.parser(
        "generate",
        "Continue a prompt with the forward language model, or write what comes before it with\n"
        "the backward one. Print one text per line.",
        'elmo generate "oil prices" --temperature 0.7 --count 3',
    )
    parser.add_argument("prompt", nargs="?", default="", help="may be empty (default)")
    parser.add_argument(
        "--direction",
        choices=("forward", "backward"),
        default="forward",
        help="forward: the prompt begins the text; backward: it ends it (default: forward)",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.8,
        help="1 follows the model, less prefers likely words, 0 takes the most likely one "
        "(default: 0.8)",
    )
    parser.add_argument(
        "--top-k",
        type=int,
        metavar="K",
        help="draw from the K most probable words (default: from all)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws (default: 0)")
    parser.add_argument("--count", type=int, default=5, help="number of texts (default: 5)")
    parser.add_argument(
        "--max-words",
        type=int,
        default=30,
        help="largest number of words added to a text (default: 30)",
    )
    base.add_model(parser, "bilstm.pt")
    return parser


def _unknown_words(tokenizer: WordTokenizer, text: str) -> list[str]:
    """Return each word of a text that is not in the vocabulary, as it is written there."""
    from elmo.data.text import UNK, clean

    (document,) = tokenizer.encode([clean(text)])
    pairs = zip(document.words, document.ids[1:-1], strict=True)
    return list(dict.fromkeys(word for word, id_ in pairs if id_ == UNK))
