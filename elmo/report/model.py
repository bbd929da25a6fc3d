"""The section on the models: what is trained, by which formulas, and after whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from elmo.report.material import MODES, Classifier, Material
from elmo.report.writing import Manuscript

FORMULAS = {
    "trainable": "`gamma * sum_l softmax(w)_l h_l`: w, from zeros, and gamma are learned, and are "
    "the same for every token (Peters et al. 2018, eq. 1)",
    "frozen": "the same with w drawn once from N(0, 1) and kept",
    "learned": "`gamma * sum_l s_l h_l` with a gate for each token, "
    "`s = softmax(MLP([h_0; ...; h_L-1]))`",
    "average": "`1/L sum_l h_l`",
    "layer": "one `h_l` alone",
    "concat": "`[h_0; ...; h_L-1]`, L times as wide",
    "projected": "`sum_l W_l h_l` with a learned matrix for each layer",
}
HEADS = {
    "pool": "maximum and mean over the tokens, one hidden layer",
    "attention": "weighted means of the tokens by several learned attentions (Lin et al. 2017)",
    "bilstm": "a BiLSTM over the tokens, pooled",
}
SOFTMAX = {
    "adaptive": "adaptive softmax (Grave et al. 2017)",
    "full": "softmax over all V words",
    "sampled": "sampled softmax in training (Jean et al. 2015)",
}
OPTIMIZERS = {"adamw": "AdamW (Loshchilov and Hutter 2019)"}
REFERENCES = {
    "Peters et al. 2018": "Deep contextualized word representations. NAACL",
    "Grave et al. 2017": "Efficient softmax approximation for GPUs. ICML",
    "Jean et al. 2015": "On using very large target vocabulary for neural machine translation. ACL",
    "Gal and Ghahramani 2016": "A theoretically grounded application of dropout in recurrent "
    "neural networks. NIPS",
    "Merity et al. 2018": "Regularizing and optimizing LSTM language models. ICLR",
    "Mikolov et al. 2013": "Distributed representations of words and phrases and their "
    "compositionality. NIPS",
    "Levy, Goldberg and Dagan 2015": "Improving distributional similarity with lessons learned "
    "from word embeddings. TACL 3",
    "Lin et al. 2017": "A structured self-attentive sentence embedding. ICLR",
    "Howard and Ruder 2018": "Universal language model fine-tuning for text classification. ACL",
    "Loshchilov and Hutter 2019": "Decoupled weight decay regularization. ICLR",
    "Loshchilov and Hutter 2017": "SGDR: stochastic gradient descent with warm restarts. ICLR",
    "Guo et al. 2017": "On calibration of modern neural networks. ICML",
}

Records = Sequence[dict[str, Any]]


def architecture(material: Material, paper: Manuscript) -> None:
    """Write the section on the models."""
    bilms = [bilm.record for bilm in material.bilms]
    layered = [c for c in material.classifiers if c.kind not in ("tfidf", "blend")]
    if not bilms and not layered:
        paper.leave_out("Model", "the folders contain no biLM and no classifier on layers")
        return
    paper.heading("Model")
    lines = [
        *_language_model(bilms),
        *_classifiers(layered),
        *_training([*bilms, *_records(layered)]),
    ]
    paper.items(lines)
    _sizes(material, layered, paper)
    cited = [f"{name}: {title}." for name, title in REFERENCES.items() if name in " ".join(lines)]
    if cited:
        paper.paragraph("References:")
        paper.items(cited)


def _records(classifiers: Sequence[Classifier]) -> list[dict[str, Any]]:
    return [record for c in classifiers for record in c.setting.records]


def _values(records: Records, group: str, key: str) -> list[Any]:
    """Return the different values of a setting, in the order of the records; without null."""
    found = [record["settings"].get(group, {}).get(key) for record in records]
    return list(dict.fromkeys(value for value in found if value is not None))


def _listed(values: Sequence[Any]) -> str:
    plain = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    return plain[0] if len(plain) == 1 else f"{', '.join(plain[:-1])} or {plain[-1]}"


def _choices(records: Records, group: str, names: dict[str, str]) -> str:
    found = dict.fromkeys(r["choices"][group] for r in records if group in r["choices"])
    return _listed([names.get(name, f"`{name}`") for name in found]) if found else ""


def _language_model(records: Records) -> list[str]:
    """Say what the language models are made of."""
    if not records:
        return []
    embedding = _values(records, "embedding", "dim")
    widths, layers = (_values(records, "bilm", key) for key in ("hidden_dim", "num_layers"))
    parts = []
    if embedding:
        parts.append(f"word vectors of width {_listed(embedding)}")
    if widths:
        stack = f"{_listed(layers)} LSTM layers" if layers else "LSTM layers"
        residual = _values(records, "bilm", "residual")
        added = " with a residual connection between them" if True in residual else ""
        parts.append(
            f"two independent stacks, forward and backward, of {stack} of width {_listed(widths)} "
            f"each{added}"
        )
    if softmax := _choices(records, "softmax", SOFTMAX):
        parts.append(f"one {softmax} for both directions" if "or" not in softmax else softmax)
    text = f"**biLM** (Peters et al. 2018): {'; '.join(parts)}." if parts else ""
    methods = []
    if True in _values(records, "bilm", "variational"):
        methods.append("one dropout mask for a whole sequence (Gal and Ghahramani 2016)")
    if any(_values(records, "bilm", "weight_dropout")):
        methods.append("dropout on recurrent weights (Merity et al. 2018)")
    if any(_values(records, "bilm", "word_dropout")):
        methods.append("dropout of whole words")
    if "word2vec" in [r["choices"].get("embedding") for r in records]:
        methods.append("a start from Word2Vec (Mikolov et al. 2013) on the train rows")
    if methods:
        text += f" Some or all have {'; '.join(methods)}."
    return [text] if text else []


def _classifiers(layered: Sequence[Classifier]) -> list[str]:
    """Say what the classifiers are made of: layers, mixer, head."""
    if not layered:
        return []
    elmo = [c for c in layered if c.is_elmo]
    lines = []
    used = {c.choices["mixer"] for c in elmo}
    modes = [f"*{name}*: {FORMULAS[name]}" for name in FORMULAS if name in used]
    if modes:
        norm = (
            " after layer normalisation"
            if True in _values(_records(elmo), "mixer", "layer_norm")
            else ""
        )
        lines.append(
            "**Lambda modes and other mixers**, which make one vector of the L layers `h_l` of a "
            f"token{norm}; layer 0 is the word vector: {'; '.join(modes)}."
        )
    if any(c.has_matrices for c in layered if c.choices["mixer"] in MODES):
        lines.append(
            "*With matrices*: each layer is multiplied by a learned matrix, `W_l h_l`, before it "
            "is weighed."
        )
    others = {c.kind for c in layered} - {"elmo"}
    static = {
        "word2vec": "Word2Vec (Mikolov et al. 2013)",
        "svd": "the SVD of positive pointwise mutual information (Levy, Goldberg and Dagan 2015)",
    }
    if named := [text for kind, text in static.items() if kind in others]:
        lines.append(f"**Static vectors**, one layer in the place of L: {' and '.join(named)}.")
    if heads := _choices(_records(layered), "head", HEADS):
        lines.append(f"**Head**: {heads}; then a softmax over the classes.")
    if any(c.is_finetuned for c in layered):
        lines.append(
            "**Fine-tuning** trains the biLM on, its lower layers with lower learning rates "
            "(Howard and Ruder 2018)."
        )
    return lines


def _training(records: Records) -> list[str]:
    """Say by what the models are trained: optimizer, schedule, precision."""
    text = ""
    if optimizer := _choices(records, "optimizer", OPTIMIZERS):
        text = f"**Training**: {optimizer}"
        warmups = list(
            dict.fromkeys(r["settings"]["warmup"] for r in records if r["settings"].get("warmup"))
        )
        if warmups:
            text += (
                f"; the learning rate rises linearly over the first {100 * warmups[0]:g} % of the "
                "steps and falls to zero by a cosine (Loshchilov and Hutter 2017)"
            )
        if clips := _values(records, "trainer", "gradient_clip_val"):
            text += f"; gradients are clipped to a norm of {_listed(clips)}"
        text += ". The best epoch on validation is kept."
    if precision := _values(records, "trainer", "precision"):
        text += f" Precision: {_listed([f'`{value}`' for value in precision])}."
    return [text] if text else []


def _sizes(material: Material, layered: Sequence[Classifier], paper: Manuscript) -> None:
    """Write the tables of the number of weights of each part."""
    bilms = {bilm.name: bilm.record.get("parameters", {}) for bilm in material.bilms}
    shown = {c.title for c in [*material.best_of_modes(), *material.representations()]}
    classifiers = {
        c.title_without_bilm: c.setting.records[0].get("parameters", {})
        for c in layered
        if c.title in shown
    }
    for caption, models in (
        ("Weights of the biLMs.", bilms),
        ("Weights of the classifiers; the encoder is frozen unless it is fine-tuned.", classifiers),
    ):
        alike: dict[tuple[tuple[str, int], ...], list[str]] = {}
        for title, sizes in models.items():
            if sizes:
                alike.setdefault(tuple(sizes.items()), []).append(title)
        parts = list(dict.fromkeys(part for sizes in alike for part, _ in sizes))
        rows = [
            [
                _together(titles),
                *(f"{dict(sizes)[part]:,}" if part in dict(sizes) else "" for part in parts),
                f"{sum(size for _, size in sizes):,}",
            ]
            for sizes, titles in alike.items()
        ]
        if rows:
            names = [part.replace("_lstm", " LSTM") for part in parts]
            paper.table(caption, ["model", *names, "together"], rows)


def _together(titles: Sequence[str]) -> str:
    """Return titles as one; the numbers of biLMs follow one another."""
    if all(title.startswith("biLM ") for title in titles):
        return f"biLM {', '.join(title.removeprefix('biLM ') for title in titles)}"
    return "; ".join(titles)
