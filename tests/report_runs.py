"""Invented runs of every kind that a report describes; their figures are known."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CLASSES = ["World", "Sports", "Business", "Sci/Tech"]
ROWS = 400
FACTS = {
    "name": "toy",
    "fingerprint": "aaaa1111",
    "test_rows_in_source": ROWS,
    "train_rows_in_source": 1300,
    "train_rows_also_in_test": 3,
    "repeated_descriptions": 2,
    "descriptions_with_conflicting_labels": 1,
    "train_rows": 1000,
    "validation_rows": 300,
    "test_rows": ROWS,
}
TOKENS = {
    "vocabulary_size": 50,
    "unknown_rate": {"train": 0.01, "validation": 0.02, "test": 0.03},
}
WEIGHTS = {"trainable": [0.2, 0.3, 0.5], "frozen": [0.7, 0.2, 0.1], "learned": [0.1, 0.2, 0.7]}


def _write(
    folder: Path, record: dict[str, Any], overrides: list[str], script: str, bilm: str = "ab"
) -> None:
    folder.mkdir(parents=True)
    common = {
        "seconds": 12.0,
        "threads": 1,
        "device": "cpu",
        "versions": {"python": "3.12", "torch": "2.13"},
        "git": {"commit": "0123456789", "changed": False},
    }
    (folder / "metrics.json").write_text(json.dumps({**record, **common}))
    hashes = [part * (64 // len(part)) for part in bilm.split("/")]
    start = {
        "script": script,
        "overrides": overrides,
        "settings": {"bilm_sha256": hashes if len(hashes) > 1 else hashes[0]},
    }
    (folder / "run.json").write_text(json.dumps(start))


def _curves(folder: Path, curves: dict[str, list[float]]) -> None:
    lines = [
        f"{tag},{step},{value:.6g}"
        for tag, values in curves.items()
        for step, value in enumerate(values)
    ]
    (folder / "tables").mkdir()
    (folder / "tables/curves.csv").write_text("\n".join(["tag,step,value", *lines]) + "\n")


def write_classifier(
    folder: Path,
    accuracy: float,
    seed: int = 0,
    choices: dict[str, str] | None = None,
    val: float | None = None,
    share: float = 1.0,
    data: dict[str, Any] | None = None,
    bilm: str = "ab",
    finetune: bool = False,
    study: str | None = None,
    **mixer: Any,
) -> None:
    """Write a classifier whose predictions are right for a share `accuracy` of the test rows.

    Args:
        val: accuracy on validation; None takes the same.
        bilm: the hash of its biLM, or two hexadecimal digits that the hash repeats.
        mixer: further settings of the mixer.
    """
    chosen = choices or {"encoder": "elmo", "mixer": "trainable"}
    random = np.random.default_rng([seed, round(1e4 * accuracy)])
    labels = np.arange(ROWS) % 4
    right = random.permutation(ROWS) < round(accuracy * ROWS)
    # Errors predict the next class, but World instead of Sports.
    predicted = np.where(right, labels, np.where(labels == 1, 0, (labels + 1) % 4))
    probabilities = np.full((ROWS, 4), 0.05)
    probabilities[np.arange(ROWS), predicted] = 0.85
    table = {
        "row": np.arange(ROWS),
        "label": [CLASSES[label] for label in labels],
        "predicted": [CLASSES[label] for label in predicted],
        **{f"p({name})": probabilities[:, index] for index, name in enumerate(CLASSES)},
    }
    linear = "classifier" in chosen
    if not linear:
        table |= {"words": np.arange(ROWS) % 70, "unknown": np.arange(ROWS) % 5}
    confusion = np.zeros((4, 4), dtype=int)
    np.add.at(confusion, (labels, predicted), 1)
    scores = {"precision": accuracy, "recall": accuracy, "f1": accuracy}
    split = {"per_class": dict.fromkeys(CLASSES, scores), "confusion": confusion.tolist()}
    metrics = {
        f"{prefix}/{name}": value
        for prefix in ("train", "val", "test")
        for name, value in {"accuracy": accuracy, "ece": 0.1, **scores}.items()
    }
    if val is not None:
        metrics["val/accuracy"] = val
    rows = round(share * 1000)
    record: dict[str, Any] = {
        "metrics": {**metrics, "test/accuracy": float(right.mean())},
        "splits": {"train": split, "validation": split, "test": split},
        "data": {**(data or FACTS), "labelled_rows": rows},
        "choices": {**chosen, "data": "toy"},
        "study": study,
        "settings": {"seed": seed, "label_share": share, "output_dir": "/secret/place"},
    }
    overrides = [f"{group}={name}" for group, name in chosen.items()]
    if linear:
        record["features"] = 99
    else:
        weights = WEIGHTS.get(chosen["mixer"], [1.0])
        lambdas = np.roll(weights, seed if chosen["mixer"] == "frozen" else 0).tolist()
        record |= {"lambdas": lambdas, "gamma": 1.1, "parameters": {"encoder": 500, "head": 70}}
        record["data"] |= TOKENS
        record["settings"] |= {
            "mixer": {"layer_norm": True, **mixer},
            "encoder": {"dim": 8, "finetune": finetune},
            "trainer": {"max_epochs": round(4 / share**0.5)},
        }
        overrides += [f"mixer.{key}={value}" for key, value in mixer.items()]
    secrets = ("output_dir", "data.cache_dir", "store.folder", "bilm_path", "hydra.run.dir")
    overrides += [f"seed={seed}", "threads=1", *(f"{key}=/secret/place" for key in secrets)]
    _write(folder, record, overrides, "train_tfidf" if linear else "train_cls", bilm)
    (folder / "predictions").mkdir()
    pq.write_table(pa.table(table), folder / "predictions/test.parquet")
    if not linear and len(record["lambdas"]) == 3:
        _curves(folder, {f"lambda/{i}": [1 / 3, w] for i, w in enumerate(lambdas)})


def write_bilm(folder: Path, perplexity: float = 20.0, seed: int = 0) -> str:
    """Write a biLM and a study of its neighbours; return the hash of the biLM's file."""
    directions = ("forward", "backward", "together")
    metrics = {
        f"{prefix}/{name}{ending}": perplexity if name == "perplexity" else 0.3
        for prefix in ("train", "val", "test")
        for ending in ("", "_forward", "_backward")
        for name in ("perplexity", "accuracy", "top5_accuracy", "precision", "recall", "f1")
    }
    groups = [
        {"group": name, "perplexity": dict.fromkeys(directions, value)}
        for name, value in (("<unk>", 9.0), ("1 to 10", 4.0), ("11 to 100", None))
    ]
    record = {
        "metrics": metrics,
        "splits": {s: {"perplexity_by_frequency": groups} for s in ("train", "validation", "test")},
        "data": {**FACTS, **TOKENS},
        "choices": {"bilm": "small", "data": "toy"},
        "settings": {"seed": seed, "bilm": {"hidden_dim": 8, "dropout": seed / 10}},
        "parameters": {"embedding": 1000},
        "embedding": {"source": "/secret/place/vectors.txt"},
    }
    _write(folder, record, ["threads=1"], "train_lm")
    _curves(folder, {"train/perplexity": [90, 30, 20], "val/perplexity": [60, 25, 20]})
    neighbour = {"word": "river", "cosine": 0.9, "row": 7, "class": "World"}
    static = {**neighbour, "row": None, "class": None}
    query = {"word": "bank", "row": 5, "class": "Business"}
    study = {
        "words": {"bank": 9},
        "chance": 0.4,
        "agreement": [0.4, 0.6, 0.7],
        "queries": [{**query, "neighbours": [[static], [neighbour], [neighbour]]}],
    }
    content = {"fingerprint": FACTS["fingerprint"], "split": "validation", "rows": 300}
    content["encoders"] = {"elmo": study}
    (folder / "neighbours.json").write_text(json.dumps(content))
    weights = f"weights of {perplexity}".encode()
    (folder / "bilstm.pt").write_bytes(weights)
    return hashlib.sha256(weights).hexdigest()


def write_everything(root: Path) -> None:
    """Write one run or more for each section of a report; `learned` is the best of all."""
    write_bilm(root / "lm")
    for seed in (2, 0, 1):
        for mode, accuracy in (("trainable", 0.8), ("frozen", 0.7), ("learned", 0.9)):
            for learned in (True, False):
                name = f"{mode}-{learned}-{9 - seed}"  # not in the order of the seeds
                choices = {"encoder": "elmo", "mixer": mode}
                gain = 0.02 if learned else 0.0
                total = accuracy + gain
                write_classifier(root / name, total, seed, choices, learn_gamma=learned)
    for seed in range(2):
        for encoder, accuracy in (("word2vec", 0.6), ("svd", 0.55)):
            choices = {"encoder": encoder, "mixer": "trainable"}
            write_classifier(root / f"{encoder}-{seed}", accuracy, seed, choices)
        for layer, accuracy in enumerate((0.5, 0.75, 0.65)):
            choices = {"encoder": "elmo", "mixer": "layer"}
            write_classifier(root / f"layer-{layer}-{seed}", accuracy, seed, choices, layer=layer)
        for mixer in ("average", "concat"):
            choices = {"encoder": "elmo", "mixer": mixer}
            write_classifier(root / f"{mixer}-{seed}", 0.77, seed, choices)
        for share, accuracy in ((0.01, 0.4), (0.1, 0.5)):
            choices = {"encoder": "elmo", "mixer": "trainable", "labels": f"percent_{share}"}
            folder = root / f"few-{share}-{seed}"
            write_classifier(folder, accuracy, seed, choices, share=share, learn_gamma=True)
            choices = {"encoder": "word2vec", "mixer": "trainable", "labels": f"percent_{share}"}
            folder = root / f"few-static-{share}-{seed}"
            write_classifier(folder, accuracy - 0.1, seed, choices, share=share)
    for linear, accuracy in (("svm", 0.72), ("logistic", 0.71)):
        write_classifier(root / linear, accuracy, 0, {"classifier": linear})
