"""`elmo release`: makes of a biLM and a classifier on it the folder that is passed on."""

from __future__ import annotations

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
    parser = base.parser(
        "release",
        "Writes the model of a run in half precision, its figures before and after, its curves\n"
        "for TensorBoard and a model card into a folder: first a biLM, then a classifier that was\n"
        "trained on what was written of it. No text of the corpus gets there.",
        "elmo release outputs/train_lm/RUN -o outputs/reference",
    )
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="where to put it")
    parser.add_argument("--report", metavar="PDF", help="a report to put beside it")
    parser.add_argument(
        "--data-dir", metavar="DIR", help="folder of the corpus, where it is none to download"
    )
    base.add_cache_dir(parser)
    args = parser.parse_args(arguments)
    source, out = Path(args.run), Path(args.output)

    from elmo.models.training_corpus import training_corpus
    from elmo.report.model_card import model_card
    from elmo.runs.keys import is_neutral_override, without_paths
    from elmo.runs.latest import KINDS
    from elmo.runs.record import METRICS_FILE, read_record
    from elmo.utils.cache import redirect_library_caches
    from elmo.utils.files import write_json, write_text

    redirect_library_caches(Path(args.cache_dir))
    kind, record = _record(source)
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
    half = _halve(source, unfinished, kind)
    command = [word for word in record["command"] if not is_neutral_override(word)]
    record |= {"settings": without_paths(record["settings"]), "command": command}
    record["released"] = {"precision": "float16", "metrics": _figures(half, kind, corpus)}
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


def _record(source: Path) -> tuple[str, dict[str, Any]]:
    """The kind of a run's model, and its record, the command in it.

    Raises:
        ArtifactError: no finished run with a model.
    """
    from elmo.runs.latest import KINDS
    from elmo.runs.record import METRICS_FILE, RUN_FILE, read_record

    kinds = [kind for kind, one in KINDS.items() if (source / one.file).is_file()]
    if not kinds:
        files = " or ".join(one.file for one in KINDS.values())
        raise ArtifactError(f"{source}: no {files} in it; expected the folder of a finished run")
    for file in (METRICS_FILE, RUN_FILE):
        if not (source / file).is_file():
            raise ArtifactError(f"{source}: no {file} in it; expected the folder of a finished run")
    start = json.loads((source / RUN_FILE).read_text())
    return kinds[0], {**read_record(source), "command": [start["script"], *start["overrides"]]}


def _check_bilm(classifier: Path, released: Path) -> None:
    """
    Raises:
        ArtifactError: no biLM is released in that folder, or the classifier is of another.
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


def _halve(source: Path, target: Path, kind: str) -> Path:
    """Write the model of a run with its weights in half precision; returns its file."""
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


def _figures(file: Path, kind: str, corpus: Corpus) -> dict[str, float]:
    """Return the metrics of a model on validation and test."""
    from elmo.data.datamodule import ClassificationData, LanguageModelData
    from elmo.evaluation.language_model_scores import evaluate_language_model
    from elmo.evaluation.metrics import evaluate_classifier
    from elmo.evaluation.results import PREFIX
    from elmo.models.classifier import load_classifier
    from elmo.models.language_model import load_language_model

    settings: dict[str, Any] = {"token_budget": 8192, "num_workers": 0, "seed": 0}
    figures: dict[str, float] = {}
    for split in ("validation", "test"):
        if kind == "classifier":
            model = load_classifier(file)
            tokenizer = model.encoder.tokenizer
            data = ClassificationData(corpus=corpus, tokenizer=tokenizer, **settings)
            found = evaluate_classifier(model, data.evaluation_loader(split))
        else:
            language_model = load_language_model(file)
            texts = LanguageModelData(
                corpus=corpus, tokenizer=language_model.tokenizer, evaluation_rows=1, **settings
            )
            batches = texts.evaluation_loader(split)
            found = evaluate_language_model(language_model, batches).scalars
        figures |= {f"{PREFIX[split]}/{name}": value for name, value in found.items()}
    return figures


def _copy_curves(source: Path, target: Path) -> None:
    """The curves as a table and as TensorBoard events: numbers alone, no sample and no picture."""
    from torch.utils.tensorboard import SummaryWriter

    from elmo.report.collect import curves

    (target / "tables").mkdir()
    shutil.copy(source / "tables" / "curves.csv", target / "tables")
    with SummaryWriter(target) as writer:
        for tag, points in curves(source).items():
            for step, value in points:
                writer.add_scalar(tag, value, int(step))
