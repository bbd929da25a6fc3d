"""`elmo senses`: which layer tells the senses of an ambiguous word apart."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elmo.commands import base
from elmo.errors import ArtifactError, ConfigError
from elmo.utils.terminal import print_table, say

if TYPE_CHECKING:
    from elmo.inference.senses import Study

WORDS = "pitch,sun,virus,star,drive,bank,charge,strike,court,apple,cell,chip,net,giant,oracle,shell"


def main(arguments: Sequence[str] | None = None) -> None:
    args = _parser().parse_args(arguments)
    words = [word.strip().lower() for word in args.words.split(",") if word.strip()]
    for option, value in (("count", args.count), ("words", len(words))):
        if value < 1:
            raise ConfigError(f"--{option} is {value}; expected 1 or more")

    from elmo.inference.senses import study
    from elmo.models.encoders import load_encoder
    from elmo.models.training_corpus import training_corpus
    from elmo.runs.record import read_record
    from elmo.utils.files import write_json

    path = base.model_path(args, "bilm")
    run_dir = path if path.is_dir() else path.parent
    corpus = training_corpus(path, args.cache_dir)
    models = [path, *map(Path, args.beside)]
    found: list[tuple[str, Study]] = []
    for model in models:
        encoder = load_encoder(model).to(base.device(args))
        folder = model if model.is_dir() else model.parent
        if not (folder / "metrics.json").is_file():
            raise ArtifactError(f"{folder}: no metrics.json in it; expected a run folder")
        name = read_record(folder)["choices"].get("encoder", "elmo")
        say(f"{name}: searching the validation split of data={corpus.name}")
        if name in dict(found):
            name = f"{name} {folder.name}"
        found.append((name, study(encoder, corpus, words, args.count)))
    passed_by = [word for word in words if word not in found[0][1].words]
    if passed_by:
        say(f"not in two descriptions of each of two classes: {', '.join(passed_by)}")
    record: dict[str, Any] = {
        "fingerprint": corpus.fingerprint,
        "split": "validation",
        "rows": len(corpus.splits["validation"]),
        "encoders": {name: one._asdict() for name, one in found},
    }
    out = Path(args.output) if args.output else run_dir / "neighbours.json"
    write_json(out, record)
    _print(found)
    say(f"wrote {out}")


def _print(found: list[tuple[str, Study]]) -> None:
    first = found[0][1]
    print(
        "The nearest other occurrence of the same word is in a description of the same class:\n"
        f"{len(first.words)} words, {sum(first.words.values())} occurrences, by chance "
        f"{first.chance:.3f}"
    )
    rows = [
        [name, str(layer), f"{value:.3f}"]
        for name, study in found
        for layer, value in enumerate(study.agreement)
    ]
    print_table(("encoder", "layer", "same class"), rows)


def _parser() -> argparse.ArgumentParser:
    parser = base.parser(
        "senses",
        "For words of several senses: the nearest neighbours of two of their occurrences in each\n"
        "layer, by row number, and how often the nearest other occurrence of the same word stands\n"
        "in a description of the same class. Looked for in the validation split.",
        "elmo senses --beside outputs/train_cls/..._encoder-word2vec",
    )
    parser.add_argument(
        "--words", default=WORDS, metavar="A,B,...", help=f"words to look at (default: {WORDS})"
    )
    parser.add_argument(
        "--beside",
        action="append",
        default=[],
        metavar="PATH",
        help="another model to compare with, such as a classifier.pt of encoder=word2vec; may be "
        "given several times",
    )
    parser.add_argument("--count", type=int, default=5, help="neighbours in a layer (default: 5)")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="default: neighbours.json in the run folder of the model",
    )
    base.add_cache_dir(parser)
    base.add_model(parser, "bilstm.pt or classifier.pt")
    return parser
