"""`python -m elmo.release`: makes of a biLM and a classifier on it the folder that is passed on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elmo import cli
from elmo.errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    from elmo.corpora import Corpus

SPLITS = {"validation": "val", "test": "test"}


def main() -> None:
    parser = cli.parser(
        "release",
        "Writes the model of a run in half precision, its figures before and after, its curves\n"
        "for TensorBoard and a model card into a folder: first a biLM, then a classifier that was\n"
        "trained on what was written of it. No text of the corpus gets there.",
        "python -m elmo.release outputs/train_lm/RUN -o outputs/reference",
    )
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="where to put it")
    parser.add_argument("--report", metavar="PDF", help="a report to put beside it")
    parser.add_argument(
        "--data-dir", metavar="DIR", help="folder of the corpus, where it is none to download"
    )
    cli.add_cache_dir(parser)
    args = parser.parse_args()
    source, out = Path(args.run), Path(args.output)

    from elmo.cache import cache_libraries
    from elmo.latest import KINDS
    from elmo.recorded import corpus_of
    from elmo.runs import read_record, write_json, write_text

    cache_libraries(Path(args.cache_dir))
    kind, record = _record(source)
    if args.report and not Path(args.report).is_file():
        raise ConfigError(
            f"--report {args.report}: no such file; `python -m elmo.report` makes one"
        )
    name = KINDS[kind].script.removesuffix(".py")
    if (out / name).exists():
        raise ConfigError(f"{out / name}: exists already; name another folder with -o")
    if kind == "classifier":
        _check_bilm(source, out / "train_lm")
    corpus = corpus_of(source, args.cache_dir, {"dir": args.data_dir} if args.data_dir else None)
    unfinished = out / f".{name}"
    shutil.rmtree(unfinished, ignore_errors=True)
    half = _halve(source, unfinished, kind)
    record = _without_places(record)
    evaluate = _accuracies if kind == "classifier" else _perplexities
    record["released"] = {"precision": "float16", "metrics": evaluate(half, corpus)}
    write_json(unfinished / "metrics.json", record)
    _copy_curves(source, unfinished)
    if kind == "classifier":
        (unfinished / "predictions").mkdir()
        shutil.copy(source / "predictions" / "test.parquet", unfinished / "predictions")
    unfinished.rename(out / name)
    if args.report:
        shutil.copy(args.report, out / "report.pdf")
    card = model_card(read_record(out / "train_lm"), record if kind == "classifier" else None)
    write_text(out / "README.md", card)
    cli.say(f"wrote {out / name}, {out / 'README.md'}")


def _record(source: Path) -> tuple[str, dict[str, Any]]:
    """The kind of a run's model, and its record, the command in it.

    Raises:
        ArtifactError: no finished run with a model.
    """
    from elmo.latest import KINDS
    from elmo.resume import RUN_FILE
    from elmo.runs import read_record

    kinds = [kind for kind, one in KINDS.items() if (source / one.file).is_file()]
    if not kinds:
        files = " or ".join(one.file for one in KINDS.values())
        raise ArtifactError(f"{source}: no {files} in it; expected the folder of a finished run")
    for file in ("metrics.json", RUN_FILE):
        if not (source / file).is_file():
            raise ArtifactError(f"{source}: no {file} in it; expected the folder of a finished run")
    start = json.loads((source / RUN_FILE).read_text())
    return kinds[0], {**read_record(source), "command": [start["script"], *start["overrides"]]}


def _check_bilm(classifier: Path, released: Path) -> None:
    """
    Raises:
        ArtifactError: no biLM is released in that folder, or the classifier is of another.
    """
    from elmo.resume import RUN_FILE
    from elmo.runs import sha256_of

    file = released / "bilstm.pt"
    if not file.is_file():
        raise ArtifactError(f"{file}: no such file; release the biLM into this folder first")
    settings = json.loads((classifier / RUN_FILE).read_text())["settings"]
    if settings.get("bilm_sha256") != sha256_of(file):
        raise ArtifactError(
            f"{classifier}: it was not trained on {file}; train one with bilm_path={released}"
        )


def _without_places(record: dict[str, Any]) -> dict[str, Any]:
    """A record whose settings name no folder of this machine, and still build the corpus."""
    from elmo.runs import is_place

    settings = json.loads(json.dumps(record["settings"]))
    for key in ("callbacks", "output_dir", "cache_dir", "bilm_path", "resume", "store"):
        settings.pop(key, None)
    for part in (settings["data"], settings.get("encoder", {}), settings.get("embedding", {})):
        part |= dict.fromkeys(part.keys() & {"dir", "cache_dir", "bilm_path", "output_dir", "path"})
    command = [word for word in record["command"] if not is_place(word)]
    return {**record, "settings": settings, "command": command}


def _halve(source: Path, target: Path, kind: str) -> Path:
    """Write the model of a run with its weights in half precision; returns its file."""
    from elmo.checkpoint import load_artifact, save_artifact
    from elmo.latest import KINDS

    content = load_artifact(source, kind)
    state = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in content["state"].items()
    }
    file = target / KINDS[kind].file
    save_artifact(file, kind, content["config"], content["tokenizer"], content["facts"], state)
    return file


def _perplexities(file: Path, corpus: Corpus) -> dict[str, float]:
    import torch

    from elmo.datamodule import LanguageModelData
    from elmo.language_model import load_language_model
    from elmo.metrics import language_model_metrics, update_directions

    model, tokenizer = load_language_model(file)
    data = LanguageModelData(
        corpus=corpus,
        tokenizer=tokenizer,
        token_budget=8192,
        num_workers=0,
        seed=0,
        evaluation_rows=1,
    )
    figures: dict[str, float] = {}
    for split, prefix in SPLITS.items():
        metrics = language_model_metrics()
        with torch.no_grad():
            for batch in data.evaluation_loader(split):
                nll = model(batch.tokens, batch.lengths)
                metrics["loss"].update(nll)
                update_directions(metrics, "perplexity", nll)
        figures |= {f"{prefix}/{name}": value.item() for name, value in metrics.compute().items()}
    return figures


def _accuracies(file: Path, corpus: Corpus) -> dict[str, float]:
    from elmo.classifier import load_classifier
    from elmo.datamodule import ClassificationData
    from elmo.metrics import classification_metrics

    model = load_classifier(file)
    data = ClassificationData(
        corpus=corpus, tokenizer=model.encoder.tokenizer, token_budget=8192, num_workers=0, seed=0
    )
    figures: dict[str, float] = {}
    for split, prefix in SPLITS.items():
        metrics = classification_metrics(len(model.class_names))
        for batch in data.evaluation_loader(split):
            metrics.update(model.scores(batch), batch.label)
        figures |= {f"{prefix}/{name}": value.item() for name, value in metrics.compute().items()}
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


def model_card(bilm: dict[str, Any], classifier: dict[str, Any] | None) -> str:
    """What a user of the models has to know: rows, commands, figures, limits, licence."""
    return "\n".join(_lines_of_card(bilm, classifier)) + "\n"


def _lines_of_card(bilm: dict[str, Any], classifier: dict[str, Any] | None) -> Iterator[str]:
    data, unknown = bilm["data"], bilm["data"]["unknown_rate"]
    records = [bilm, classifier] if classifier else [bilm]
    also = ", and a classifier of its four classes on the frozen biLM" if classifier else ""
    yield from (
        "# The released run",
        "",
        f"A biLM pretrained on descriptions of AG News{also}. English, lower-cased, word level.",
        "",
        "```python",
        "import elmo",
        "",
        'elmo.load_bilm().embed(["The bank raised its rates."])',
    )
    if classifier:
        yield 'elmo.load_classifier().predict(["The bank raised its rates."])'
    yield from (
        "```",
        "",
        "## Data",
        "",
        f"{data['train_rows_in_source']:,} of the 120,000 train rows of AG News, the Description "
        f"column alone: {data['train_rows']:,} trained on, {data['validation_rows']:,} for "
        f"validation, {data['train_rows_also_in_test']:,} dropped because their text stands in the "
        f"test split, which is whole ({data['test_rows']:,} rows). `rows.bin` says which rows, by "
        "a 64-bit hash of class, letters and digits each; `data=ag_news_57k` takes them out of the "
        "original file. "
        f"V = {data['vocabulary_size']:,}; unknown words {unknown['train']:.2%} of train, "
        f"{unknown['validation']:.2%} of validation, {unknown['test']:.2%} of test. No other text, "
        "vectors or labels were used.",
        "",
        "## Figures",
        "",
        "| | as trained | in half precision, as here |",
        "| --- | ---: | ---: |",
    )
    for title, record, key, digits in (
        ("biLM, validation perplexity", bilm, "val/perplexity", 3),
        ("biLM, test perplexity", bilm, "test/perplexity", 3),
        ("classifier, validation accuracy", classifier, "val/accuracy", 4),
        ("classifier, test accuracy", classifier, "test/accuracy", 4),
        ("classifier, test macro F1", classifier, "test/f1", 4),
    ):
        if record:
            before, after = record["metrics"][key], record["released"]["metrics"][key]
            yield f"| {title} | {before:.{digits}f} | {after:.{digits}f} |"
    yield ""
    if classifier:
        accuracy = classifier["metrics"]["test/accuracy"]
        error = (accuracy * (1 - accuracy) / data["test_rows"]) ** 0.5
        yield (
            "The classifier was trained on the biLM in half precision. The standard error of its "
            f"accuracy on {data['test_rows']:,} rows is {error:.2%}."
        )
    yield from (
        "Of several seeds these are the ones that were best on validation, so their test figures "
        "are a draw from the spread over seeds, not its mean.",
        "",
        "## Commands",
        "",
        "```",
        *(_command(record) for record in records),
        "```",
        "",
        f"PyTorch {bilm['versions']['torch']}, Python {bilm['versions']['python']}, "
        f"{bilm['threads']} thread, {bilm['device']}; "
        + " and ".join(f"{record['seconds'] / 60:.0f}" for record in records)
        + " minutes.",
        "",
        "## Limits",
        "",
        "- News of 2004 and 2005 in English, as four broad classes; other text, other classes, "
        "other years are outside of what was measured. Words outside of the vocabulary are one "
        "and the same `<unk>`.",
        "- Descriptions of some 40 words. Longer documents were not measured.",
        "- What the sources say of people, places and firms is in the vectors, biases among it.",
        "",
        "## Licence",
        "",
        "The code is under the MIT licence. AG's corpus of news articles is for non-commercial "
        "research use; whether models made from it may be used for more is yours to find out. "
        "None of its text is in this folder.",
    )


def _command(record: dict[str, Any]) -> str:
    script, *overrides = record["command"]
    return " ".join(["python", f"{script}.py", *overrides])


if __name__ == "__main__":
    cli.run(main)
