"""`python -m elmo.evaluate RUN`: the final evaluation of a language model, again or elsewhere."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from elmo import cli
from elmo.documents import add_column, read_documents
from elmo.errors import ArtifactError, ConfigError, DataError

if TYPE_CHECKING:
    from elmo.batches import Batch
    from elmo.language_model import LanguageModel
    from elmo.scores import LanguageModelResult
    from elmo.text import WordTokenizer

BLOCK = 1000  # documents of a file that are sorted by length together
DIGITS = {"perplexity": 2}  # four of the rest


def main(arguments: Sequence[str] | None = None) -> None:
    args = _parser().parse_args(arguments)
    if args.file is not None and args.data:
        raise ConfigError("--data changes the corpus of the run, which --file replaces; name one")
    if args.column is not None and args.file is None:
        raise ConfigError(f"--column {args.column} names a column of --file, which is not given")
    folder = Path(args.output) if args.output else None
    if folder:
        _make(folder)

    from elmo.cache import cache_libraries
    from elmo.language_model import load_language_model

    if args.run is not None and args.model is not None:
        raise ConfigError(f"RUN is {args.run} and --model {args.model}; name one of them")
    args.model = args.run or args.model
    cache_libraries(Path(args.cache_dir))
    path = cli.model_path(args, "bilm")
    model, tokenizer = load_language_model(path)
    model.to(cli.device(args))
    from_file = args.file is not None
    sources, facts = _file(args, tokenizer) if from_file else _corpus(path, args, tokenizer)
    results = {name: _score(model, batches, name) for name, batches in sources.items()}
    _print(results, facts)
    if folder:
        _write(folder, results, tokenizer, facts, path)


def _parser() -> argparse.ArgumentParser:
    parser = cli.parser(
        "evaluate",
        "Perplexity, accuracy, precision, recall and F1 of a language model, per direction and "
        "together: on the corpus it was trained on (validation, test and the same sample of train "
        "as its run), on that corpus with other settings, or on a file.",
        "python -m elmo.evaluate outputs/train_lm/RUN\n"
        "  python -m elmo.evaluate outputs/train_lm/RUN --file news.txt -o evaluated",
    )
    parser.add_argument(
        "run", nargs="?", metavar="RUN", help="a run folder or bilstm.pt; default: the latest"
    )
    parser.add_argument("--file", help="documents, one a line, or a table with --column")
    add_column(parser)
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="change settings of the run's corpus, as in --data dir=FOLDER",
    )
    parser.add_argument(
        "-o", "--output", metavar="DIR", help="a new folder for metrics.json, tables and figures"
    )
    cli.add_cache_dir(parser)
    cli.add_model(parser, "a bilstm.pt")
    return parser


def _make(folder: Path) -> None:
    """Before the work begins, so that its figures have a place to go."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        empty = not any(folder.iterdir())
    except OSError as error:
        raise ConfigError(f"-o {folder}: no folder can be made there ({error.strerror})") from error
    if not empty:
        raise ConfigError(f"{folder}: exists already; name a new folder with -o")


def _corpus(
    path: Path, args: argparse.Namespace, tokenizer: WordTokenizer
) -> tuple[dict[str, Iterable[Batch]], dict[str, Any]]:
    """The loaders of the splits, as the run had them."""
    from elmo.datamodule import LanguageModelData
    from elmo.recorded import corpus_of
    from elmo.runs import read_record

    corpus = corpus_of(path, args.cache_dir, dict(map(_setting, args.data)))
    record = read_record(path if path.is_dir() else path.parent)
    try:
        fingerprint = record["data"]["fingerprint"]
        recorded = record["settings"]["datamodule"]
        names = ("token_budget", "max_tokens", "evaluation_rows", "seed")
        wanted = {name: recorded[name] for name in names}
        wanted["train_rows"] = recorded.get("train_rows")  # older records have none
    except (LookupError, TypeError) as error:
        raise ArtifactError(
            f"{path}: the metrics.json beside it is no record of a pretraining ({error!r}); put "
            "the run's own back, or name texts with --file"
        ) from error
    if corpus.fingerprint != fingerprint:
        cli.say(
            f"another corpus than the run's: {corpus.fingerprint}, not {fingerprint}; its files, "
            "settings, cleaning rules or split are others, and so will the figures be"
        )
    data = LanguageModelData(corpus=corpus, tokenizer=tokenizer, num_workers=0, **wanted)
    splits: dict[str, Iterable[Batch]] = {
        split: data.evaluation_loader(split) for split in ("train", "validation", "test")
    }
    return splits, data.facts


def _setting(text: str) -> tuple[str, Any]:
    """`key=value`, where the value is JSON or else a string."""
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--data {text}: expected KEY=VALUE, such as dir=FOLDER")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def _file(
    args: argparse.Namespace, tokenizer: WordTokenizer
) -> tuple[dict[str, Iterable[Batch]], dict[str, Any]]:
    facts: dict[str, Any] = {
        "name": args.file,
        "tokenizer": tokenizer.fingerprint,
        "vocabulary_size": len(tokenizer),
        "rows": 0,
        "words": 0,
        "unknown_rate": {},
    }
    return {"file": _file_batches(Path(args.file), args.column, tokenizer, facts)}, facts


def _file_batches(
    file: Path, column: str | None, tokenizer: WordTokenizer, facts: dict[str, Any]
) -> Iterator[Batch]:
    """Batches of the documents; `facts` is whole after the last one. Empty ones are left out."""
    from elmo.encoders import TOKEN_BUDGET, text_batches
    from elmo.text import UNK

    unknown = 0
    documents = (text for text in read_documents(file, column) if text.strip())
    while block := list(islice(documents, BLOCK)):
        for texts, batch in text_batches(block, tokenizer, TOKEN_BUDGET):
            facts["rows"] += len(texts)
            facts["words"] += sum(len(text.words) for text in texts)
            unknown += int((batch.tokens == UNK).sum())
            yield batch
    if not facts["words"]:
        raise DataError(f"{file}: no words in it; expected documents, one a line")
    facts["unknown_rate"]["file"] = unknown / facts["words"]


def _score(model: LanguageModel, batches: Iterable[Batch], name: str) -> LanguageModelResult:
    from tqdm import tqdm

    from elmo.scores import LanguageModelScores

    device = next(model.parameters()).device
    scores = LanguageModelScores(model.softmax.vocab_size).to(device)
    for batch in tqdm(batches, desc=name, unit=" batches", disable=None):
        model.score(batch.tokens.to(device), batch.lengths.to(device), scores)
    return scores.compute()


def _print(results: dict[str, LanguageModelResult], facts: dict[str, Any]) -> None:
    for split, result in results.items():
        unknown = facts["unknown_rate"][split]
        table = Table(
            title=Text(f"{split}: V {facts['vocabulary_size']:,}, unknown {unknown:.2%}"),
            title_justify="left",
        )
        for name in ("", "forward", "backward", "together"):
            table.add_column(name, justify="right" if name else "left")
        names = [name for name in result.scalars if not name.endswith(("_forward", "_backward"))]
        for name in names:
            found = [result.scalars[f"{name}{end}"] for end in ("_forward", "_backward", "")]
            table.add_row(name, *(f"{value:.{DIGITS.get(name, 4)}f}" for value in found))
        Console().print(table)


def _write(
    folder: Path,
    results: dict[str, LanguageModelResult],
    tokenizer: WordTokenizer,
    facts: dict[str, Any],
    path: Path,
) -> None:
    from elmo.results import Writer, write_language_model_results
    from elmo.runs import versions, write_json
    from elmo.task import PREFIX

    splits = write_language_model_results(results, tokenizer, Writer(folder))
    metrics = {
        f"{PREFIX.get(split, split)}/{name}": value
        for split, result in results.items()
        for name, value in result.scalars.items()
    }
    record = {"model": str(path), "metrics": metrics, "splits": splits, "data": facts}
    write_json(folder / "metrics.json", {**record, "versions": versions()})
    cli.say(f"wrote {folder}")


if __name__ == "__main__":
    cli.run(main)
