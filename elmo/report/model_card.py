"""The model card of a released run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def model_card(bilm: dict[str, Any], classifier: dict[str, Any] | None) -> str:
    """Return the model card as Markdown: data, figures, commands, limits and licence.

    Args:
        bilm: the record of the released biLM.
        classifier: the record of the classifier on it; None where only the biLM is released.
    """
    return "\n".join(_lines(bilm, classifier)) + "\n"


def _lines(bilm: dict[str, Any], classifier: dict[str, Any] | None) -> Iterator[str]:
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
        f"{data['train_rows_in_source']:,} of the 120,000 train rows of AG News, only the column "
        f"Description: {data['train_rows']:,} for training, {data['validation_rows']:,} for "
        f"validation, {data['train_rows_also_in_test']:,} dropped because the test split contains "
        f"their text. The test split is complete ({data['test_rows']:,} rows). `rows.bin` lists "
        "the rows by a 64-bit hash of class, letters and digits; `data=ag_news_57k` takes them out "
        "of the original file. "
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
        if "teachers" in classifier:
            weight = classifier["settings"]["teacher"]["weight"]
            yield (
                f"It is a student: {weight:.0%} of each target are the mean probabilities of "
                f"{classifier['teachers']} other classifiers for that row, the rest is the label."
            )
    yield from (
        "Among several seeds these were best on validation: their test figures are one draw from "
        "the spread over seeds, not its mean.",
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
        + " minutes"
        + (", without the teachers." if "teachers" in records[-1] else "."),
        "",
        "## Limits",
        "",
        "- News of 2004 and 2005 in English, in four broad classes; other text, other classes and "
        "other years were not measured. All words outside of the vocabulary are the same `<unk>`.",
        "- Descriptions of some 40 words; longer documents were not measured.",
        "- The vectors contain what the sources say about people, places and firms, with their "
        "biases.",
        "",
        "## Licence",
        "",
        "The code is under the MIT licence. AG's corpus of news articles is for non-commercial "
        "research use; before you use models made from it for anything else, find out whether "
        "that is allowed. This folder contains none of its text.",
    )


def _command(record: dict[str, Any]) -> str:
    """Return the command of a run; where its teachers lay is left to the reader to fill in."""
    script, *overrides = record["command"]
    teachers = ["teacher.runs=FOLDER"] if "teachers" in record else []
    return " ".join(["python", f"{script}.py", *overrides, *teachers])
