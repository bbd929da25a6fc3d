"""`elmo generate`: text written by a pretrained language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from elmo.commands import base
from elmo.utils.terminal import say

if TYPE_CHECKING:
    from elmo.data.text import WordTokenizer


def main(arguments: Sequence[str] | None = None) -> None:
    parser = base.parser(
        "generate",
        "Let the forward language model write on after a prompt, or the backward one write what "
        "comes before it. Prints one text a line.",
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
        help="1 follows the model, less prefers likely words, 0 takes the likeliest (default: 0.8)",
    )
    parser.add_argument(
        "--top-k", type=int, metavar="K", help="draw among the K most probable words; default: all"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default: 0)")
    parser.add_argument("--count", type=int, default=5, help="texts to write (default: 5)")
    parser.add_argument(
        "--max-words", type=int, default=30, help="written to each text, at most (default: 30)"
    )
    base.add_model(parser, "bilstm.pt")
    args = parser.parse_args(arguments)

    from elmo.models.generation import generate, join_words
    from elmo.models.language_model import load_language_model

    device = base.device(args)
    model = load_language_model(base.model_path(args, "bilm"), device)
    if unknown := unknown_words(model.tokenizer, args.prompt):
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


def unknown_words(tokenizer: WordTokenizer, text: str) -> list[str]:
    """The words of a text that are not in the vocabulary, each once, as they stand in it."""
    from elmo.data.text import UNK, clean

    (document,) = tokenizer.encode([clean(text)])
    pairs = zip(document.words, document.ids[1:-1], strict=True)
    return list(dict.fromkeys(word for word, id_ in pairs if id_ == UNK))
