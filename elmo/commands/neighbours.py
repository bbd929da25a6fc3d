"""`elmo neighbours "The bank of the river was [steep]"`: words in like contexts."""

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
    from elmo.inference.nearest import Neighbour

FRAME = 31  # columns of the table besides the row number and the words


class Source(NamedTuple):
    """Where the neighbours are looked for."""

    title: str
    documents: Iterable[str]
    size: int | None  # documents; None where that is not known before they are read
    row: Callable[[int], int]  # the row of a document, by its number from 0


def main(arguments: Sequence[str] | None = None) -> None:
    args = _parser().parse_args(arguments)
    check_range({"--count": args.count, "--rows": args.rows}, at_least=1)
    base.check_column(args)

    from tqdm import tqdm

    from elmo.inference.nearest import Search, marked_word
    from elmo.models.encoders import load_encoder

    path = base.model_path(args, "bilm")
    encoder = load_encoder(path, base.device(args))
    query = marked_word(args.sentence, encoder.tokenizer)
    if not query.known:
        word = query.tokens[query.position]
        say(f"{word!r} is not in the vocabulary: its layer 0 is the vector of <unk>")
    source = _file(args) if args.file is not None else _validation_split(path, args)
    search = Search(encoder, query.text, query.position, args.count)
    search.feed(tqdm(source.documents, total=source.size, unit=" documents", disable=None))
    if not search.documents:
        raise DataError(f"{source.title}: no documents; expected one or more")
    say(f"searched {search.documents:,} documents, {search.tokens:,} tokens: {source.title}")
    if args.format == "jsonl":
        print_lines(search.best, source.row)
    else:
        print_neighbours(search.best, source.row, args.sentence)


def in_context(tokens: Sequence[str], position: int, width: int) -> str:
    """A word in brackets among its neighbours, as many of them as `width` characters hold.

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
    from elmo.models.training_corpus import WAY_OUT, training_corpus

    corpus = training_corpus(path, args.cache_dir)
    try:
        split = corpus.splits["validation"]
    except DataError as error:  # which says how a training job is to be mended
        reason = str(error).partition("; ")[0]
        raise DataError(f"{reason}; this is the corpus of {path}: {WAY_OUT}") from error
    split = split.select(range(min(args.rows, len(split))))
    texts = (text for batch in split.iter(1_000) for text in batch["text"])
    title = f"validation split of data={corpus.name}"
    return Source(title, texts, len(split), lambda document: split[document]["row"])


def print_neighbours(best: list[list[Neighbour]], row: Callable[[int], int], sentence: str) -> None:
    """Print a section for each layer, no wider than the terminal."""
    numbers = [str(row(one.document)) for found in best[1:] for one in found]
    room = terminal_width() - FRAME - max(map(len, ["row", *numbers]))
    rows: list[list[str]] = []
    sections = []
    for layer, found in enumerate(best):
        for rank, one in enumerate(found, start=1):
            cells = [str(layer) if rank == 1 else "", str(rank), f"{one.cosine:.3f}"]
            if layer == 0:  # the same vector in any context
                cells += ["", one.word]
            else:
                context = in_context(one.tokens, one.position, room)
                cells += [str(row(one.document)), context]
            rows.append(cells)
        sections.append(len(rows) - 1)
    header = ("layer", "rank", "cosine", "row", "word in its context")
    print_table(header, rows, sentence, right=range(4), sections=sections)


def print_lines(best: list[list[Neighbour]], row: Callable[[int], int]) -> None:
    """One JSON object a neighbour, with all words of its document."""
    for layer, found in enumerate(best):
        for rank, one in enumerate(found, start=1):
            line = {
                "layer": layer,
                "rank": rank,
                "cosine": one.cosine,
                "word": one.word,
                "row": row(one.document),
                "position": one.position,
                "tokens": one.tokens,
            }
            print(json.dumps(line, ensure_ascii=False))


def _parser() -> argparse.ArgumentParser:
    parser = base.parser(
        "neighbours",
        "The words whose vectors are nearest to that of a word in its sentence, in each layer.\n"
        "Layer 0 is static, so it lists words; the others list words in context, with the row of\n"
        "their document: counted from 1 in a file, from 0 in the source of a corpus.",
        'elmo neighbours "The bank of the river was [steep]"',
    )
    parser.add_argument("sentence", help="with the one word that is meant in [brackets]")
    parser.add_argument(
        "--file",
        type=Path,
        metavar="FILE",
        help="documents to search; default: the validation split of the model's own corpus",
    )
    base.add_column(parser)
    parser.add_argument(
        "--rows", type=int, default=5000, help="documents searched, at most (default: 5000)"
    )
    parser.add_argument("--count", type=int, default=5, help="neighbours in a layer (default: 5)")
    parser.add_argument("--format", choices=("table", "jsonl"), default="table")
    base.add_cache_dir(parser)
    base.add_model(parser, "bilstm.pt or classifier.pt")
    return parser
