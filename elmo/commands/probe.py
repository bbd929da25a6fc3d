"""`elmo probe`: what each layer knows about words and documents."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elmo.commands import base
from elmo.errors import ConfigError, check_range
from elmo.utils.terminal import print_table, say

if TYPE_CHECKING:
    from elmo.models.encoders import Encoder
    from elmo.probing.words import Splits


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `elmo probe`.

    Raises:
        ElmoError: the models, the data or the options cannot be used.
    """
    args = _parser().parse_args(arguments)
    check_range({"--seeds": args.seeds, "--rows": args.rows}, at_least=1)
    tasks, kinds = _names(args.task), _names(args.probe)
    out = Path(args.output)
    _check(args, tasks, kinds, out)

    from elmo.models.loading import load_encoder
    from elmo.models.published import find_published
    from elmo.probing.figures import write_figure
    from elmo.probing.study import Plan, study
    from elmo.runs.record import versions
    from elmo.utils.files import write_json

    path = find_published(base.model_path(args, "bilm"))
    device = base.device(args)
    paths = [path, *map(Path, args.beside)]
    encoders: dict[str, Encoder] = {}
    for model in paths:
        encoders[_unused(base.model_name(model), encoders)] = load_encoder(model).to(device)
    layers = None if args.layers is None else _names(args.layers)
    _check_layers(layers, encoders)
    plan = Plan(layers, kinds, args.seeds, device)
    record: dict[str, Any] = {
        "models": {
            name: _facts(encoder, model)
            for (name, encoder), model in zip(encoders.items(), paths, strict=True)
        },
        "seeds": args.seeds,
        "versions": versions(),
        "data": {},
        "tasks": {},
    }
    for names, splits, facts in _sources(tasks, path, args):
        found = study(names, splits, encoders, plan, say)
        for name in names:
            record["data"][name] = facts
            record["tasks"][name] = found[name]
            _print(name, found[name])
        write_json(out, record)  # what is done is kept if a later task fails
        write_figure(out.with_suffix(".svg"), record["tasks"])
    say(f"wrote {out}, {out.with_suffix('.svg')}")


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _check(args: argparse.Namespace, tasks: list[str], kinds: list[str], out: Path) -> None:
    """Check what needs no model.

    Raises:
        ConfigError: a name is unknown, or files are missing for a task or not read by any.
    """
    from elmo.probing.corpora import CORPUS_TASKS
    from elmo.probing.probes import KINDS
    from elmo.probing.sense_table import SENSES
    from elmo.probing.treebank import COLUMN_TASKS, is_treebank_task

    known = [*COLUMN_TASKS, SENSES, *CORPUS_TASKS]
    for task in tasks:
        if task not in known and not is_treebank_task(task):
            raise ConfigError(
                f"--task {task}: no such task; expected some of {', '.join(known)}, or a feature "
                "of a treebank with a capital, such as Number"
            )
    if not tasks:
        raise ConfigError(f"--task is empty; expected some of {', '.join(known)}")
    if not kinds or not set(kinds) <= set(KINDS):
        raise ConfigError(f"--probe is {args.probe!r}; expected some of {', '.join(KINDS)}")
    from_files = [task for task in tasks if task not in CORPUS_TASKS]
    if SENSES in tasks and len(from_files) > 1:
        raise ConfigError(
            "--task senses reads tables and the others treebanks; run the command for each"
        )
    files = {"--train": args.train, "--validation": args.validation, "--test": args.test}
    missing = [option for option, file in files.items() if file is None]
    if from_files and missing:
        raise ConfigError(
            f"--task {from_files[0]} needs --train, --validation and --test; "
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
        )
    if not from_files and len(missing) < len(files):
        raise ConfigError(
            f"--task {','.join(tasks)} reads the corpus of a run, --corpus RUN, and no files; "
            "leave --train, --validation and --test out"
        )
    if out.suffix != ".json":
        raise ConfigError(f"-o {out}: expected a file that ends in .json")


def _check_layers(layers: list[str] | None, encoders: dict[str, Encoder]) -> None:
    from elmo.probing.study import MIX

    most = max(encoder.num_layers for encoder in encoders.values())
    known = [*map(str, range(most)), *([MIX] if most > 1 else [])]
    if layers is not None and (not layers or not set(layers) <= set(known)):
        raise ConfigError(f"--layers {','.join(layers)}: expected some of {', '.join(known)}")


def _sources(
    tasks: list[str], path: Path, args: argparse.Namespace
) -> Iterator[tuple[list[str], Splits, dict[str, Any]]]:
    """Yield tasks on the same words, with the words and the facts of their data."""
    from elmo.models.training_corpus import training_corpus
    from elmo.probing.corpora import CORPUS_TASKS, read_corpus
    from elmo.probing.sense_table import SENSES, read_senses
    from elmo.probing.treebank import read_treebank
    from elmo.probing.words import drawn
    from elmo.utils.files import sha256_of

    if from_files := [task for task in tasks if task not in CORPUS_TASKS]:
        files = {"train": args.train, "validation": args.validation, "test": args.test}
        splits = {}
        for split, file in files.items():
            if from_files == [SENSES]:
                documents = read_senses(file, _names(args.columns))
            else:
                documents = read_treebank(file, from_files)
            splits[split] = [documents[row] for row in drawn(len(documents), args.rows)]
        hashes = {split: sha256_of(file)[:16] for split, file in files.items()}
        names = {split: file.name for split, file in files.items()}
        yield from_files, splits, {"files": names, "sha256": hashes, "rows": args.rows}
    for task in tasks:
        if task in CORPUS_TASKS:
            corpus = training_corpus(base.corpus_run(path, args), args.cache_dir)
            splits = read_corpus(corpus, task, args.rows)
            facts = {"corpus": corpus.name, "fingerprint": corpus.fingerprint, "rows": args.rows}
            yield [task], splits, facts


def _unused(name: str, taken: dict[str, Encoder]) -> str:
    """Return the name, or with a number where another model has it: "elmo", "elmo 2"."""
    names = [name, *(f"{name} {number}" for number in range(2, len(taken) + 2))]
    return next(one for one in names if one not in taken)


def _facts(encoder: Encoder, model: Path) -> dict[str, Any]:
    from elmo.inference.vectors import fingerprint
    from elmo.runs.latest import shown
    from elmo.runs.recipes import bilm_under, digest_of

    folder = model if model.is_dir() else model.parent
    return {
        "model": shown(model).name,
        "fingerprint": fingerprint(encoder, None),
        "bilm": digest_of(folder, {}) or bilm_under(folder),  # its name in a report
        "layers": encoder.num_layers,
        "dim": encoder.dim,
    }


def _print(name: str, record: dict[str, Any]) -> None:
    words, guesses = record["words"], record["baselines"]
    what = "documents" if record["word_types"] is None else "words"
    print(
        f"{name}: {len(record['classes'])} labels; {words['train']:,} {what} of train, "
        f"{words['validation']:,} of validation, {words['test']:,} of test"
    )
    line = f"without a model: most frequent label {guesses['majority']:.4f}"
    if guesses["word_type"] is not None:
        line += f", of each word {guesses['word_type']:.4f}"
    if guesses["ambiguous"] is not None:
        line += f", of {record['ambiguous_in_test']:,} ambiguous words {guesses['ambiguous']:.4f}"
    print(line)
    header = ("encoder", "layer", "accuracy", "ambiguous", "control", "selectivity")
    for kind in dict.fromkeys(result["probe"] for result in record["results"]):
        results = [result for result in record["results"] if result["probe"] == kind]
        rows = [
            [
                result["encoder"],
                str(result["layer"]),
                _with_interval(result["accuracy"]),
                *(_mean(result[column]) for column in header[3:]),
            ]
            for result in results
        ]
        print_table(header, rows, f"{kind} probe")
        for result in results:
            if "lambdas" in result:
                print(
                    f"{result['encoder']}, lambdas: {_means(result['lambdas'])}; times the spread "
                    f"of each layer: {_means(result['shares'])}"
                )


def _with_interval(found: dict[str, Any]) -> str:
    half = "" if found["high"] is None else f" ± {found['high'] - found['mean']:.4f}"
    return f"{found['mean']:.4f}{half}"


def _mean(found: dict[str, Any] | None) -> str:
    return "" if found is None else f"{found['mean']:.4f}"


def _means(by_seed: list[list[float]]) -> str:
    return " ".join(f"{sum(column) / len(column):.2f}" for column in zip(*by_seed, strict=True))


def _parser() -> argparse.ArgumentParser:
    parser = base.parser(
        "probe",
        "Measure what each layer knows: train small classifiers on the vectors of words, for each\n"
        "layer and for the learned mix, and on a control task, which only memory can solve. Tasks\n"
        "of a treebank in CoNLL-U: upos, feats, deprel, or a feature such as Number; of tables:\n"
        "senses; of the corpus of a run, which needs no annotation: truecase (was the word\n"
        "capitalised?) and topic (the class of a document, from the mean of its words).",
        "elmo probe --task truecase --rows 2000",
        "elmo probe --task upos,Number,deprel --train train.conllu --validation dev.conllu "
        "--test test.conllu",
    )
    parser.add_argument("--task", required=True, metavar="A,B,...", help="tasks, see above")
    for split, role in (
        ("train", "the probes are trained on"),
        ("validation", "that ends the training"),
        ("test", "whose accuracy is reported"),
    ):
        parser.add_argument(
            f"--{split}", type=Path, metavar="FILE", help=f"CoNLL-U file or table {role}"
        )
    parser.add_argument(
        "--columns",
        default="text,sense",
        metavar="A,B",
        help="columns of the table for senses: text, in which the word stands in [brackets], and "
        "sense; a third one has the number of the word instead, from 0 (default: text,sense)",
    )
    parser.add_argument(
        "--corpus",
        metavar="RUN",
        help="a run on the corpus to read (default: the run of the model; a published model has "
        "none)",
    )
    base.add_beside(parser)
    parser.add_argument(
        "--layers",
        metavar="A,B,...",
        help="layers to probe by number, and mix for all of them mixed (default: all, and mix)",
    )
    parser.add_argument(
        "--probe",
        default="linear",
        metavar="A,B",
        help="linear, mlp (one hidden layer) or both (default: linear)",
    )
    parser.add_argument("--seeds", type=int, default=3, help="probes of each kind (default: 3)")
    parser.add_argument(
        "--rows",
        type=int,
        metavar="N",
        help="sentences or documents to draw from each split (default: all)",
    )
    parser.add_argument(
        "-o",
        "--output",
        default="probe.json",
        metavar="FILE",
        help="file to write; the figure is beside it as .svg (default: probe.json)",
    )
    base.add_cache_dir(parser)
    base.add_model(parser, "bilstm.pt or classifier.pt")
    return parser
