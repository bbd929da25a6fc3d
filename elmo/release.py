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
        "Writes models in half precision, their figures before and after, their curves for\n"
        "TensorBoard and a model card into a folder. No text of the corpus gets there.",
        "python -m elmo.release outputs/train_lm/RUN outputs/train_cls/RUN -o outputs/reference",
    )
    parser.add_argument("bilm", metavar="BILM", help="run folder of a biLM")
    parser.add_argument("classifier", metavar="CLASSIFIER", help="run folder of a classifier on it")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="where to put them")
    parser.add_argument("--report", metavar="PDF", help="a report to put beside them")
    parser.add_argument(
        "--data-dir", metavar="DIR", help="folder of the corpus, where it is none to download"
    )
    cli.add_cache_dir(parser)
    args = parser.parse_args()
    sources = {"train_lm": Path(args.bilm), "train_cls": Path(args.classifier)}
    out = Path(args.output)

    from elmo.cache import cache_libraries
    from elmo.recorded import corpus_of
    from elmo.runs import write_json, write_text

    cache_libraries(Path(args.cache_dir))
    records = _records(sources)
    if args.report and not Path(args.report).is_file():
        raise ConfigError(
            f"--report {args.report}: no such file; `python -m elmo.report` makes one"
        )
    for name in sources:
        if (out / name).exists():
            raise ConfigError(f"{out / name}: exists already; name another folder with -o")
    overrides = {"dir": args.data_dir} if args.data_dir else None
    corpus = corpus_of(sources["train_lm"], args.cache_dir, overrides)
    for name, (kind, evaluate) in {
        "train_lm": ("bilm", _perplexities),
        "train_cls": ("classifier", _accuracies),
    }.items():
        half = _halve(sources[name], out / name, kind)
        record = _without_places(records[name])
        record["released"] = {"precision": "float16", "metrics": evaluate(half, corpus)}
        write_json(out / name / "metrics.json", record)
        _copy_curves(sources[name], out / name)
        records[name] = record
    predictions = out / "train_cls" / "predictions"
    predictions.mkdir()
    shutil.copy(sources["train_cls"] / "predictions" / "test.parquet", predictions)
    if args.report:
        shutil.copy(args.report, out / "report.pdf")
    write_text(out / "README.md", model_card(records["train_lm"], records["train_cls"]))
    cli.say(f"wrote {out}")


def _records(sources: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """
    Raises:
        ArtifactError: a folder is no finished run, or the classifier's biLM is another.
    """
    from elmo.resume import RUN_FILE
    from elmo.runs import read_record, sha256_of

    records = {}
    for name, folder in sources.items():
        for file in ("metrics.json", RUN_FILE):
            if not (folder / file).is_file():
                raise ArtifactError(f"{folder}: no {file} in it; expected a finished {name} run")
        start = json.loads((folder / RUN_FILE).read_text())
        records[name] = {**read_record(folder), "command": [start["script"], *start["overrides"]]}
    used = json.loads((sources["train_cls"] / RUN_FILE).read_text())["settings"]["bilm_sha256"]
    if used != sha256_of(sources["train_lm"] / "bilstm.pt"):
        raise ArtifactError(
            f"{sources['train_cls']}: its biLM is another than that of {sources['train_lm']}"
        )
    return records


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


def model_card(bilm: dict[str, Any], classifier: dict[str, Any]) -> str:
    """What a user of the models has to know: rows, commands, figures, limits, licence."""
    return "\n".join(_lines_of_card(bilm, classifier)) + "\n"


def _lines_of_card(bilm: dict[str, Any], classifier: dict[str, Any]) -> Iterator[str]:
    data, lm, cls = bilm["data"], bilm["metrics"], classifier["metrics"]
    half_lm, half_cls = bilm["released"]["metrics"], classifier["released"]["metrics"]
    unknown = data["unknown_rate"]
    yield from (
        "# The released run",
        "",
        "A biLM pretrained on descriptions of AG News, and a classifier of its four classes on the "
        "frozen biLM. English, lower-cased, word level.",
        "",
        "```python",
        "import elmo",
        "",
        'elmo.load_bilm().embed(["The bank raised its rates."])',
        'elmo.load_classifier().predict(["The bank raised its rates."])',
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
    for title, before, after, key, digits in (
        ("biLM, validation perplexity", lm, half_lm, "val/perplexity", 3),
        ("biLM, test perplexity", lm, half_lm, "test/perplexity", 3),
        ("classifier, validation accuracy", cls, half_cls, "val/accuracy", 4),
        ("classifier, test accuracy", cls, half_cls, "test/accuracy", 4),
        ("classifier, test macro F1", cls, half_cls, "test/f1", 4),
    ):
        yield f"| {title} | {before[key]:.{digits}f} | {after[key]:.{digits}f} |"
    error = (cls["test/accuracy"] * (1 - cls["test/accuracy"]) / data["test_rows"]) ** 0.5
    yield from (
        "",
        f"The standard error of this accuracy on {data['test_rows']:,} rows is {error:.2%}. Of "
        "several seeds these are the ones that were best on validation, so their test figures "
        "are a draw from the spread that `report.pdf` shows, not its mean.",
        "",
        "## Commands",
        "",
        "```",
        _command(bilm),
        _command(classifier),
        "```",
        "",
        f"PyTorch {bilm['versions']['torch']}, Python {bilm['versions']['python']}, "
        f"{bilm['threads']} thread, {bilm['device']}; {bilm['seconds'] / 60:.0f} minutes for the "
        f"biLM, {classifier['seconds'] / 60:.0f} for the classifier.",
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
