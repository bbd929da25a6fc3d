"""`elmo release`: a model to be shared, with its figures or in the published ELMo format."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elmo.commands import base
from elmo.errors import ArtifactError, ConfigError
from elmo.utils.terminal import say

if TYPE_CHECKING:
    from elmo.data.corpus import Corpus


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `elmo release`.

    Raises:
        ElmoError: the run, its corpus or the options cannot be used.
    """
    args = _parser().parse_args(arguments)
    _check_options(args)

    from elmo.utils.cache import redirect_library_caches

    redirect_library_caches(Path(args.cache_dir))
    if args.format == "published":
        _release_published(args.run, Path(args.output), args.vocabulary)
    else:
        _release_run(args)


def _release_run(args: argparse.Namespace) -> None:
    """Write the model of a run with its figures; see `main`."""
    source, out = Path(args.run), Path(args.output)

    from elmo.models.training_corpus import training_corpus
    from elmo.report.model_card import model_card
    from elmo.runs.keys import is_neutral_override, without_paths
    from elmo.runs.latest import KINDS
    from elmo.runs.record import METRICS_FILE, read_record
    from elmo.utils.files import write_json, write_text

    kind, record = _read_run(source)
    if args.report and not Path(args.report).is_file():
        raise ConfigError(f"--report {args.report}: no such file; `elmo report` makes one")
    name = KINDS[kind].script.removesuffix(".py")
    if (out / name).exists():
        raise ConfigError(f"{out / name}: exists already; name another folder with -o")
    if kind == "classifier":
        _check_bilm(source, out / "train_lm")
    corpus = training_corpus(
        source, args.cache_dir, {"dir": args.data_dir} if args.data_dir else None
    )
    unfinished = out / f".{name}"
    shutil.rmtree(unfinished, ignore_errors=True)
    model = _write_half(source, unfinished, kind)
    command = [word for word in record["command"] if not is_neutral_override(word)]
    record |= {"settings": without_paths(record["settings"]), "command": command}
    record["released"] = {"precision": "float16", "metrics": _evaluate(model, kind, corpus)}
    write_json(unfinished / METRICS_FILE, record)
    _copy_curves(source, unfinished)
    if kind == "classifier":
        (unfinished / "predictions").mkdir()
        shutil.copy(source / "predictions" / "test.parquet", unfinished / "predictions")
    unfinished.rename(out / name)
    if args.report:
        shutil.copy(args.report, out / "report.pdf")
    card = model_card(read_record(out / "train_lm"), record if kind == "classifier" else None)
    write_text(out / "README.md", card)
    say(f"wrote {out / name}, {out / 'README.md'}")


def _parser() -> argparse.ArgumentParser:
    parser = base.parser(
        "release",
        "Write the model of a run in half precision, its figures before and after, its curves for\n"
        "TensorBoard and a model card into a folder: first a biLM, then a classifier that was\n"
        "trained on the released biLM. The folder contains no text of the corpus.\n\n"
        "With --format published, write a biLM as options.json and weights.hdf5, and vocab.txt\n"
        "where it reads whole words, and say which readers of that format cannot open it.",
        "elmo release outputs/train_lm/RUN -o outputs/reference",
        "elmo release outputs/train_lm/RUN --format published -o outputs/published",
    )
    parser.add_argument(
        "run",
        metavar="RUN",
        help="folder of a finished run; for the published format also bilstm.pt alone, or a model "
        "in that format",
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="DIR",
        help="folder to write to; a new one for the published format",
    )
    parser.add_argument(
        "--format",
        choices=("elmo", "published"),
        default="elmo",
        help="the files of this project (the default), or those of bilm-tf and AllenNLP",
    )
    parser.add_argument(
        "--vocabulary",
        type=Path,
        metavar="FILE",
        help="words, one on each line, whose token vectors are written as well; for a model that "
        "reads characters, in the published format",
    )
    parser.add_argument("--report", metavar="PDF", help="report to copy into the folder")
    parser.add_argument(
        "--data-dir", metavar="DIR", help="folder of the corpus, if it cannot be downloaded"
    )
    base.add_cache_dir(parser)
    return parser


def _check_options(args: argparse.Namespace) -> None:
    """Check that the options are for the format.

    Raises:
        ConfigError: one is not.
    """
    if args.format == "published":
        for option, given in (("--report", args.report), ("--data-dir", args.data_dir)):
            if given:
                raise ConfigError(
                    f"{option} {given} does not apply with --format published, which holds a model "
                    "alone; leave it out"
                )
    elif args.vocabulary:
        raise ConfigError(
            f"--vocabulary {args.vocabulary} applies with --format published alone; add that, or "
            "leave it out"
        )


def _release_published(run: str, out: Path, vocabulary: Path | None) -> None:
    """Write a biLM in the published format, and say what was written and what has to be known.

    Args:
        run: see `elmo.load_bilm`.
        out: the folder to write.
        vocabulary: a file of words whose token vectors are written as well.

    Raises:
        ArtifactError: the biLM cannot be read, or does not fit the format.
    """
    from elmo.models.loading import load_bilm
    from elmo.models.published import read_words
    from elmo.models.published_writer import write_published

    words = None if vocabulary is None else read_words(vocabulary)
    encoder = load_bilm(run)
    try:
        sentences = write_published(encoder, out, words)
    except ArtifactError as error:
        raise ArtifactError(f"{run}: {error}") from error
    say(f"wrote {', '.join(str(file) for file in sorted(out.iterdir()))}")
    for sentence in sentences:
        say(f"note: {sentence}")


def _read_run(source: Path) -> tuple[str, dict[str, Any]]:
    """Return the kind of a run's model, and its record with the command that made it.

    Raises:
        ArtifactError: the folder is not that of a finished run with a model.
    """
    from elmo.runs.latest import KINDS
    from elmo.runs.record import METRICS_FILE, RUN_FILE, read_record

    kinds = [name for name, kind in KINDS.items() if (source / kind.file).is_file()]
    models = " or ".join(kind.file for kind in KINDS.values())
    absent = [file for file in (METRICS_FILE, RUN_FILE) if not (source / file).is_file()]
    if not kinds or absent:
        raise ArtifactError(
            f"{source}: no {absent[0] if kinds else models} in it; expected the folder of a "
            "finished run"
        )
    start = json.loads((source / RUN_FILE).read_text())
    return kinds[0], {**read_record(source), "command": [start["script"], *start["overrides"]]}


def _check_bilm(classifier: Path, released: Path) -> None:
    """Check that a classifier was trained on the released biLM.

    Raises:
        ArtifactError: it was not, or no biLM is released in that folder.
    """
    from elmo.runs.record import RUN_FILE
    from elmo.utils.files import sha256_of

    file = released / "bilstm.pt"
    if not file.is_file():
        raise ArtifactError(f"{file}: no such file; release the biLM into this folder first")
    settings = json.loads((classifier / RUN_FILE).read_text())["settings"]
    if settings.get("bilm_sha256") != sha256_of(file):
        raise ArtifactError(
            f"{classifier}: it was not trained on {file}; train one with bilm_path={released}"
        )


def _write_half(source: Path, target: Path, kind: str) -> Path:
    """Write the model of a run with its weights in half precision; return its file."""
    from elmo.models.artifacts import load_artifact, save_artifact
    from elmo.runs.latest import KINDS

    content = load_artifact(source, kind)
    state = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in content["state"].items()
    }
    file = target / KINDS[kind].file
    save_artifact(file, kind, content["config"], content["tokenizer"], content["facts"], state)
    return file


def _evaluate(file: Path, kind: str, corpus: Corpus) -> dict[str, float]:
    """Return the metrics of a model on validation and test."""
    from elmo.data.classification_data import ClassificationData
    from elmo.data.language_model_data import LanguageModelData
    from elmo.evaluation.language_model_scores import evaluate_language_model
    from elmo.evaluation.metrics import evaluate_classifier
    from elmo.evaluation.results import PREFIX
    from elmo.models.classifier import load_classifier
    from elmo.models.language_model import load_language_model

    settings: dict[str, Any] = {"token_budget": 8192, "num_workers": 0, "seed": 0}
    metrics: dict[str, float] = {}
    for split in ("validation", "test"):
        if kind == "classifier":
            model = load_classifier(file)
            tokenizer = model.encoder.tokenizer
            data = ClassificationData(corpus=corpus, tokenizer=tokenizer, **settings)
            scores = evaluate_classifier(model, data.evaluation_loader(split))
        else:
            language_model = load_language_model(file)
            texts = LanguageModelData(
                corpus=corpus, tokenizer=language_model.tokenizer, evaluation_rows=1, **settings
            )
            batches = texts.evaluation_loader(split)
            scores = evaluate_language_model(language_model, batches).scalars
        metrics |= {f"{PREFIX[split]}/{name}": value for name, value in scores.items()}
    return metrics


def _copy_curves(source: Path, target: Path) -> None:
    """Copy the curves as a table and as TensorBoard events: no text samples, no images."""
    from torch.utils.tensorboard import SummaryWriter

    from elmo.report.collect import read_curves

    (target / "tables").mkdir()
    shutil.copy(source / "tables" / "curves.csv", target / "tables")
    with SummaryWriter(target) as writer:
        for tag, points in read_curves(source).items():
            for step, value in points:
                writer.add_scalar(tag, value, int(step))
