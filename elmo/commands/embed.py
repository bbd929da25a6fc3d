"""`elmo embed`: the contextual vectors of texts, of a file or of standard input, as HDF5."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from elmo.commands import base
from elmo.data.readers import COMPRESSED, TABLES
from elmo.errors import ConfigError, DataError
from elmo.utils.terminal import say

if TYPE_CHECKING:
    from elmo.models.encoders import Encoder
    from elmo.modules.mixers import Mixer

DESCRIPTION = """\
Write the contextual vectors of every document to an HDF5 file. `elmo embed FILE` is short
for `elmo embed --file FILE`; standard input is held in memory. There is one data set for each
document: "0", "1", ... by its number, (L, T, D) with L layers, T tokens and D numbers. The
file also has `tokens`, the tokens of each document joined by spaces, and
`sentence_to_index`, a JSON object {document: "number"}, as AllenNLP's command `elmo` writes
it.

To continue a run that was stopped, give the same command again. Until all documents are
done, the vectors are in the folder OUT.h5.parts; at the end, the disk must have room for
them twice."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `elmo embed`.

    Raises:
        ElmoError: the documents, the model or the options cannot be used.
    """
    args = _parser().parse_args(arguments)
    read = _source(args)

    from elmo.inference.vector_parts import check_new
    from elmo.inference.vectors import write_vectors
    from elmo.utils.memory import keep_freed_memory

    check_new(args.output)
    keep_freed_memory()
    device = base.device(args)
    encoder, mixer = _load(args)
    documents = write_vectors(
        args.output,
        read,
        encoder.to(device),
        mixer,
        layer=args.layer,
        pool=args.pool,
        half=args.half,
    )
    say(f"wrote {args.output}: {documents:,} document{'s' if documents != 1 else ''}")


def _source(args: argparse.Namespace) -> Callable[[], Iterable[str]]:
    """Return what gives the documents, each time that it is called; a wrong path ends here.

    Raises:
        ConfigError: the documents are not from one source, or are in a pipe.
        DataError: a file cannot be read.
    """
    if len(args.texts) == 1 and args.file is None and _is_file(args.texts[0]):
        args.file, args.texts = Path(args.texts[0]), []
    if args.file is not None and args.file.is_fifo():
        raise ConfigError(
            f"{args.file}: a pipe, which cannot be read twice as `elmo embed` does; name a file, "
            "or read it as standard input with -"
        )
    documents = base.documents(args)
    if args.file is not None:
        return lambda: base.documents(args)
    texts = list(documents)
    return lambda: texts


def _is_file(text: str) -> bool:
    """Tell whether the one TEXT is a file.

    Raises:
        DataError: there is none, but the text reads like the name of one.
    """
    if os.path.exists(text):
        return True
    suffix = Path(text).suffix.lower()
    if len(text.split()) == 1 and suffix in (".txt", *TABLES, *COMPRESSED):
        raise DataError(f"{text}: no such file; expected the name of a file, or a text")
    return False


def _parser() -> argparse.ArgumentParser:
    parser = base.parser(
        "embed",
        DESCRIPTION,
        "elmo embed --file news.csv --column description -o news.h5 --layer mixed --pool",
        'elmo embed "The bank raised its rates." -o bank.h5',
        "zcat news.gz | elmo embed - -o news.h5",
    )
    base.add_documents(parser)
    parser.add_argument(
        "-o", "--output", type=Path, metavar="OUT.h5", required=True, help="the file to write"
    )
    parser.add_argument(
        "--layer",
        metavar="all|0|1|2|mean|mixed",
        default="all",
        help="all layers (the default); one layer, by its number from 0; their plain mean; their "
        "mix by the trained mixer of a classifier.pt, with gamma and layer norm. All but the first "
        "give (T, D)",
    )
    parser.add_argument(
        "--pool",
        nargs="?",
        const="mean",
        choices=("mean", "max"),
        help="one vector per document, the mean (the default) or the maximum over its tokens: "
        "(L, D) or (D,), zeros for a document without tokens",
    )
    parser.add_argument("--half", action="store_true", help="16 bits per number instead of 32")
    base.add_model(parser, "bilstm.pt, or classifier.pt, which --layer mixed needs")
    return parser


def _load(args: argparse.Namespace) -> tuple[Encoder, Mixer | None]:
    """Load the encoder, and the mixer of a classifier where the layers are mixed."""
    if args.layer == "mixed":
        from elmo.models.classifier import load_classifier

        model = load_classifier(base.model_path(args, "classifier"))
        return model.encoder, model.mixer

    from elmo.models.loading import load_encoder

    return load_encoder(base.model_path(args, "bilm")), None
