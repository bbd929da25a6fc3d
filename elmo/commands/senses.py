"""`elmo senses`: which layer distinguishes the senses of ambiguous words."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elmo.commands import base
from elmo.errors import check_range
from elmo.utils.terminal import print_table, say

if TYPE_CHECKING:
    from elmo.inference.senses import SenseStudy

WORDS = "pitch,sun,virus,star,drive,bank,charge,strike,court,apple,cell,chip,net,giant,oracle,shell"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `elmo senses`.

    Raises:
        ElmoError: the models, their corpus or the options cannot be used.
    """
    args = _parser().parse_args(arguments)
    words = [word.strip().lower() for word in args.words.split(",") if word.strip()]
    check_range({"--count": args.count, "number of --words": len(words)}, at_least=1)

    from elmo.inference.senses import study_senses
    from elmo.models.loading import load_encoder
    from elmo.models.published import find_published, is_published
    from elmo.models.training_corpus import training_corpus
    from elmo.utils.files import write_json

    path = find_published(base.model_path(args, "bilm"))
    run_dir = path if path.is_dir() else path.parent
    corpus = training_corpus(base.corpus_run(path, args), args.cache_dir)
    studies: dict[str, SenseStudy] = {}
    for model in [path, *map(Path, args.beside)]:
        encoder = load_encoder(model).to(base.device(args))
        name = base.model_name(model)
        say(f"{name}: searching the validation split of data={corpus.name}")
        if name in studies:
            name = f"{name} {model.stem}"
        studies[name] = study_senses(encoder, corpus, words, args.count)
    first = next(iter(studies.values()))
    if skipped := [word for word in words if word not in first.words]:
        say(
            "skipped, because they are not in two descriptions of each of two classes: "
            f"{', '.join(skipped)}"
        )
    record: dict[str, Any] = {
        "fingerprint": corpus.fingerprint,
        "split": "validation",
        "rows": len(corpus.splits["validation"]),
        "encoders": {name: study._asdict() for name, study in studies.items()},
    }
    if not args.output and is_published(path):
        run_dir = Path()  # the files of a published model may be shared
    out = Path(args.output) if args.output else run_dir / "neighbours.json"
    write_json(out, record)
    _print(studies)
    say(f"wrote {out}")


def _print(studies: dict[str, SenseStudy]) -> None:
    first = next(iter(studies.values()))
    print(
        "The nearest other occurrence of the same word is in a description of the same class:\n"
        f"{len(first.words)} words, {sum(first.words.values())} occurrences, by chance "
        f"{first.chance:.3f}"
    )
    rows = [
        [name, str(layer), f"{value:.3f}"]
        for name, study in studies.items()
        for layer, value in enumerate(study.agreement)
    ]
    print_table(("encoder", "layer", "same class"), rows)


def _parser() -> argparse.ArgumentParser:
    parser = base.parser(
        "senses",
        "Measure how well each layer distinguishes the senses of ambiguous words: print how often\n"
        "the nearest other occurrence of a word is in a description of the same class, and write\n"
        "the nearest neighbours of two occurrences of each word, by row number. The occurrences\n"
        "are those of the validation split.",
        "elmo senses --beside outputs/train_cls/..._encoder-word2vec",
    )
    parser.add_argument(
        "--words", default=WORDS, metavar="A,B,...", help=f"words to study (default: {WORDS})"
    )
    base.add_beside(parser)
    parser.add_argument(
        "--corpus",
        metavar="RUN",
        help="a run on the corpus to search (default: the run of the model; a published model has "
        "none)",
    )
    parser.add_argument("--count", type=int, default=5, help="neighbours per layer (default: 5)")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="file to write (default: neighbours.json in the run folder of the model, or for a "
        "published model in the current folder)",
    )
    base.add_cache_dir(parser)
    base.add_model(parser, "bilstm.pt or classifier.pt")
    return parser
