"""`elmo evaluate RUN`: the final evaluation of a language model, again or on other text."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elmo.commands import base
from elmo.data.readers import read_documents
from elmo.errors import ArtifactError, ConfigError, DataError
from elmo.utils.terminal import print_table, say

if TYPE_CHECKING:
    from elmo.data.batches import Batch
    from elmo.data.text import WordTokenizer
    from elmo.evaluation.language_model_scores import LanguageModelResult

BLOCK = 1000  # documents of a file that are sorted by length together
DIGITS = {"perplexity": 2}  # the other scores have 4


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `elmo evaluate`.

    Raises:
        ElmoError: the model, its corpus, the file or the options cannot be used.
    """
    args = _parser().parse_args(arguments)
    if args.file is not None and args.data:
        raise ConfigError("--data changes the corpus of the run, which --file replaces; name one")
    if args.run is not None and args.model is not None:
        raise ConfigError(f"RUN is {args.run} and --model {args.model}; name one of them")
    base.check_column(args)
    folder = Path(args.output) if args.output else None
    if folder:
        base.make_empty(folder)

    from tqdm import tqdm

    from elmo.evaluation.language_model_scores import evaluate_language_model
    from elmo.models.language_model import load_language_model
    from elmo.utils.cache import redirect_library_caches

    args.model = args.run or args.model
    redirect_library_caches(Path(args.cache_dir))
    path = base.model_path(args, "bilm")
    model = load_language_model(path, base.device(args))
    if args.file is not None:
        sources, facts = _file_source(args, model.tokenizer)
    else:
        sources, facts = _corpus_splits(path, args, model.tokenizer)
    results = {
        name: evaluate_language_model(
            model, tqdm(batches, desc=name, unit=" batches", disable=None)
        )
        for name, batches in sources.items()
    }
    _print(results, facts)
    if folder:
        _write(folder, results, model.tokenizer, facts, path)


def _parser() -> argparse.ArgumentParser:
    parser = base.parser(
        "evaluate",
        "Print perplexity, accuracy, precision, recall and F1 of a language model, per direction\n"
        "and together: on the corpus of its run (validation, test and the same sample of train as\n"
        "in the run), on that corpus with other settings, or on a file.",
        "elmo evaluate outputs/train_lm/RUN",
        "elmo evaluate outputs/train_lm/RUN --file news.txt -o evaluated",
    )
    parser.add_argument(
        "run", nargs="?", metavar="RUN", help="run folder or bilstm.pt; default: the latest one"
    )
    parser.add_argument("--file", help="documents, one per line, or a table with --column")
    base.add_column(parser)
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="settings of the run's corpus to change, as in --data dir=FOLDER",
    )
    parser.add_argument(
        "-o", "--output", metavar="DIR", help="new folder for metrics.json, tables and figures"
    )
    base.add_cache_dir(parser)
    base.add_model(parser, "bilstm.pt")
    return parser


def _corpus_splits(
    path: Path, args: argparse.Namespace, tokenizer: WordTokenizer
) -> tuple[dict[str, Iterable[Batch]], dict[str, Any]]:
    """Return the batches of each split as the run had them, and the facts of the corpus."""
    from elmo.data.language_model_data import LanguageModelData
    from elmo.models.training_corpus import training_corpus
    from elmo.runs.record import read_record

    corpus = training_corpus(path, args.cache_dir, dict(map(_setting, args.data)))
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
            "that of the run back, or name texts with --file"
        ) from error
    if corpus.fingerprint != fingerprint:
        say(
            f"the corpus is not that of the run: {corpus.fingerprint} instead of {fingerprint}; "
            "files, settings, cleaning rules or split differ, so the figures will differ as well"
        )
    data = LanguageModelData(corpus=corpus, tokenizer=tokenizer, num_workers=0, **wanted)
    splits: dict[str, Iterable[Batch]] = {
        split: data.evaluation_loader(split) for split in ("train", "validation", "test")
    }
    return splits, data.facts


def _setting(text: str) -> tuple[str, Any]:
    """Return key and value of `key=value`; a value that is not JSON is a string."""
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--data {text}: expected KEY=VALUE, such as dir=FOLDER")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def _file_source(
    args: argparse.Namespace, tokenizer: WordTokenizer
) -> tuple[dict[str, Iterable[Batch]], dict[str, Any]]:
    """Return the batches of `--file`, and its facts, which are complete after the last batch."""
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
    """Yield the documents that are not empty in batches, and count their words in `facts`."""
    from elmo.data.batches import TOKEN_BUDGET, text_batches
    from elmo.data.text import UNK

    unknown = 0
    documents = (text for text in read_documents(file, column) if text.strip())
    while block := list(islice(documents, BLOCK)):
        for texts, batch in text_batches(block, tokenizer, TOKEN_BUDGET):
            facts["rows"] += len(texts)
            facts["words"] += sum(len(text.words) for text in texts)
            unknown += int((batch.tokens == UNK).sum())
            yield batch
    if not facts["words"]:
        raise DataError(f"{file}: contains no words; expected documents, one per line")
    facts["unknown_rate"]["file"] = unknown / facts["words"]


def _print(results: dict[str, LanguageModelResult], facts: dict[str, Any]) -> None:
    for split, result in results.items():
        unknown = facts["unknown_rate"][split]
        names = [name for name in result.scalars if not name.endswith(("_forward", "_backward"))]
        rows = []
        for name in names:
            values = [result.scalars[f"{name}{end}"] for end in ("_forward", "_backward", "")]
            rows.append([name, *(f"{value:.{DIGITS.get(name, 4)}f}" for value in values)])
        title = f"{split}: V {facts['vocabulary_size']:,}, unknown {unknown:.2%}"
        print_table(("", "forward", "backward", "together"), rows, title, right=(1, 2, 3))


def _write(
    folder: Path,
    results: dict[str, LanguageModelResult],
    tokenizer: WordTokenizer,
    facts: dict[str, Any],
    path: Path,
) -> None:
    from elmo.evaluation.outputs import LanguageModelOutputs, Writer
    from elmo.evaluation.results import PREFIX, Evaluation
    from elmo.runs.record import METRICS_FILE, versions
    from elmo.utils.files import write_json

    metrics = {
        f"{PREFIX.get(split, split)}/{name}": value
        for split, result in results.items()
        for name, value in result.scalars.items()
    }
    evaluation = Evaluation(metrics, results)
    splits = LanguageModelOutputs(tokenizer).write(evaluation, Writer(folder))
    record = {"model": str(path), "metrics": metrics, "splits": splits, "data": facts}
    write_json(folder / METRICS_FILE, {**record, "versions": versions()})
    say(f"wrote {folder}")
