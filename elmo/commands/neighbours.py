"""`elmo neighbours "The bank of the river was [steep]"`: words in similar contexts."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from elmo.commands import base
from elmo.data.readers import read_documents
from elmo.errors import DataError, check_range
from elmo.utils.terminal import print_table, say, terminal_width

if TYPE_CHECKING:
    from elmo.inference.neighbours import Neighbour

FRAME = 31  # columns of the table besides the row number and the words


class Source(NamedTuple):
    """The documents in which neighbours are searched."""

    title: str
    documents: Iterable[str]
    size: int | None  # number of documents; None where it is not known before they are read
    row: Callable[[int], int]  # the row of a document, by its number from 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `elmo neighbours`.

    Raises:
        ElmoError: the sentence, the documents, the model or the options cannot be used.
    """
    args = _parser().parse_args(arguments)
    check_range({"--count": args.count, "--rows": args.rows}, at_least=1)
    base.check_column(args)

    from tqdm import tqdm

    from elmo.inference.neighbours import NeighbourSearch, marked_word
    from elmo.models.loading import load_encoder

    path = base.model_path(args, "bilm")
    encoder = load_encoder(path, base.device(args))
    query = marked_word(args.sentence, encoder.tokenizer)
    if not query.known:
        word = query.tokens[query.position]
        say(f"{word!r} is not in the vocabulary: its layer 0 is the vector of <unk>")
    source = _file(args) if args.file is not None else _validation_split(path, args)
    search = NeighbourSearch(encoder, query.text, query.position, args.count)
    search.feed(tqdm(source.documents, total=source.size, unit=" documents", disable=None))
    if not search.documents:
        raise DataError(f"{source.title}: contains no documents; expected one or more")
    say(f"searched {search.documents:,} documents, {search.tokens:,} tokens: {source.title}")
    if args.format == "jsonl":
        _print_jsonl(search.best, source.row)
    else:
        _print_table(search.best, source.row, args.sentence)


def in_context(tokens: Sequence[str], position: int, width: int) -> str:
    """Return a word in brackets with the words around it that fit into `width` characters.

    >>> in_context(["The", "bank", "of", "the", "river", "was", "steep", "."], 1, 20)
    'The [bank] of the'
    """
    word = f"[{tokens[position]}]"
    room = (width - len(word)) // 2
    left = _fitting(tokens[:position][::-1], room)[::-1]
    return " ".join([*left, word, *_fitting(tokens[position + 1 :], room)])


def _fitting(tokens: Sequence[str], room: int) -> list[str]:
    ends = accumulate(len(token) + 1 for token in tokens)
    return [token for token, end in zip(tokens, ends, strict=True) if end <= room]


def _file(args: argparse.Namespace) -> Source:
    documents = islice(read_documents(args.file, args.column), args.rows)
    return Source(str(args.file), documents, None, lambda document: document + 1)


def _validation_split(path: Path, args: argparse.Namespace) -> Source:
    from elmo.models.training_corpus import ADVICE, training_corpus
    from elmo.runs.latest import shown

    corpus = training_corpus(path, args.cache_dir)
    try:
        split = corpus.splits["validation"]
    except DataError as error:  # its advice is for a training job
        reason = str(error).partition("; ")[0]
        raise DataError(f"{reason}; this is the corpus of {shown(path)}: {ADVICE}") from error
    split = split.select(range(min(args.rows, len(split))))
    texts = (text for batch in split.iter(1_000) for text in batch["text"])
    title = f"validation split of data={corpus.name}"
    return Source(title, texts, len(split), lambda document: split[document]["row"])


def _print_table(best: list[list[Neighbour]], row: Callable[[int], int], sentence: str) -> None:
    """Print a section for each layer, no wider than the terminal."""
    numbers = [str(row(near.document)) for nearest in best[1:] for near in nearest]
    room = terminal_width() - FRAME - max(map(len, ["row", *numbers]))
    rows: list[list[str]] = []
    sections = []
    for layer, nearest in enumerate(best):
        for rank, near in enumerate(nearest, start=1):
            cells = [str(layer) if rank == 1 else "", str(rank), f"{near.cosine:.3f}"]
            if layer == 0:  # the same vector in every context
                cells += ["", near.word]
            else:
                cells += [str(row(near.document)), in_context(near.tokens, near.position, room)]
            rows.append(cells)
        sections.append(len(rows) - 1)
    header = ("layer", "rank", "cosine", "row", "word in its context")
    print_table(header, rows, sentence, right=range(4), sections=sections)


def _print_jsonl(best: list[list[Neighbour]], row: Callable[[int], int]) -> None:
    """Print one JSON object per neighbour, with all words of its document."""
    for layer, nearest in enumerate(best):
        for rank, near in enumerate(nearest, start=1):
            line = {
                "layer": layer,
                "rank": rank,
                "cosine": near.cosine,
                "word": near.word,
                "row": row(near.document),
                "position": near.position,
                "tokens": near.tokens,
            }
            print(json.dumps(line, ensure_ascii=False))


def _parser() -> argparse.ArgumentParser:
    parser = base.parser(
        "neighbours",
        "Print the words with the vectors nearest to that of a word in a sentence, by layer.\n"
        "Layer 0 is static, so it lists words; the other layers list words in context, with the\n"
        "row of their document: counted from 1 in a file, from 0 in the source of a corpus.",
        'elmo neighbours "The bank of the river was [steep]"',
    )
    parser.add_argument("sentence", help="a sentence with the word in [brackets]")
    parser.add_argument(
        "--file",
        type=Path,
        metavar="FILE",
        help="documents to search; default: the validation split of the corpus of the model",
    )
    base.add_column(parser)
    parser.add_argument(
        "--rows", type=int, default=5000, help="largest number of documents (default: 5000)"
    )
    parser.add_argument("--count", type=int, default=5, help="neighbours per layer (default: 5)")
    parser.add_argument(
        "--format",
        choices=("table", "jsonl"),
        default="table",
        help="format of the output (default: table)",
    )
    base.add_cache_dir(parser)
    base.add_model(parser, "bilstm.pt or classifier.pt")
    return parser
