"""The label of a setting: what reports and tables call it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from elmo.runs.keys import relevant, relevant_choices, without_seeds

CONTEXTUAL = {"elmo": "ELMo", "side_by_side": "ELMo side by side"}
STATIC = {"word2vec": "Word2Vec", "svd": "SVD"}
ENCODERS = CONTEXTUAL | STATIC
LINEAR = {
    "svm": "linear SVM",
    "logistic": "logistic regression",
    "complement_nb": "complement naive Bayes",
}
GAMMA = {True: ", gamma learned", False: ", gamma fixed"}  # where that is not the mode's default
GAMMA_DEFAULT = {"frozen": False, "trainable": True, "learned": True}


def label_of(record: Mapping[str, Any]) -> str:
    """Return the label that a record carries, or the one that its settings give.

    Records that were written before labels were recorded have none.
    """
    return record.get("label") or setting_label(record["choices"], record["settings"])


def setting_label(choices: Mapping[str, str], settings: Mapping[str, Any]) -> str:
    """Return the label of a run's setting, such as "ELMo, learned with matrices".

    Args:
        choices: the config groups, with the file that each took.
        settings: the resolved config as plain, nested data.
    """
    if settings.get("label"):
        return settings["label"]
    if "classifier" in choices:
        features = "TF-IDF"
        if settings.get("features", {}).get("characters"):
            features += " with characters"
        return f"{features}, {LINEAR.get(choices['classifier'], choices['classifier'])}"
    if "ngram" in settings:
        return f"{settings['ngram']['order']}-gram, Kneser-Ney"
    if "encoder" not in choices:
        return "biLM"
    encoder, mixing = settings.get("encoder", {}), settings.get("mixer", {})
    name = ENCODERS.get(choices["encoder"], choices["encoder"])
    if encoder.get("skip_gram") is False:
        name += " (CBOW)"
    if encoder.get("pairs"):
        name += " with pairs"
    if choices["encoder"] not in CONTEXTUAL:
        return name
    mixer = choices["mixer"]
    if mixer == "layer":
        return f"{name}, layer {mixing.get('layer')}"
    learned = mixing.get("learn_gamma")
    usual = learned is None or learned == GAMMA_DEFAULT.get(mixer, learned)
    matrices = " with matrices" if mixing.get("projection_dim") else ""
    tuned = ", fine-tuned" if encoder.get("finetune") else ""
    taught = ", student" if choices.get("teacher") else ""
    return f"{name}, {mixer}{matrices}{'' if usual else GAMMA[learned]}{tuned}{taught}"


def distinguish(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the labels of different settings, no two alike.

    Settings that share a label are followed by the choices and values in which they differ; seeds
    do not count.
    """
    labels = [label_of(record) for record in records]
    plain = [
        {
            **without_seeds(relevant(record["settings"])),
            **relevant_choices(record["choices"]),
            **({"study": record["study"]} if record.get("study") else {}),
        }
        for record in records
    ]
    found = list(labels)
    for label in set(labels):
        same = [index for index, other in enumerate(labels) if other == label]
        keys = sorted({key for index in same for key in plain[index]})
        differing = [key for key in keys if len({str(plain[i].get(key)) for i in same}) > 1]
        for index in same:
            values = [f"{key}={plain[index][key]}" for key in differing if key in plain[index]]
            found[index] = ", ".join([label, " ".join(values)] if values else [label])
    return [
        name if found.count(name) == 1 else f"{name} ({found[: index + 1].count(name)})"
        for index, name in enumerate(found)
    ]
