"""Classifiers on misspelt words: what a model that reads characters gains over one that does not.

`python -m benchmarks.misspellings RUN RUN ...` classifies validation and test with a share of the
words misspelt, the same for all runs, and the documents with an unknown word apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks import harness
from elmo.data.batches import TOKEN_BUDGET, text_batches
from elmo.data.corpus import Corpus, column, texts_of
from elmo.data.text import UNK
from elmo.inference.vectors import fingerprint
from elmo.models.classifier import TextClassifier, load_classifier
from elmo.models.training_corpus import training_corpus

WORD = re.compile(r"[^\W\d_]{2,}")  # letters alone
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SHARES = (0.0, 0.05, 0.1)
SEED = 0


class Score(NamedTuple):
    """The accuracy of one run on one split."""

    run: str
    split: str
    share: float  # of the words that are misspelt
    accuracy: float
    unknown_rate: float  # of the words, by the vocabulary of the run
    with_unknown: float  # accuracy on the documents with an unknown word
    documents_with_unknown: int


def misspell(text: str, share: float, random: np.random.Generator) -> str:
    """Return a text in which each word of two letters or more is misspelt with a probability.

    A misspelling is one of four, each as likely: two neighbouring letters change places, a letter
    is left out, one is put in, or one is replaced.

    Args:
        share: the probability.
        random: draws words, kinds, places and letters.
    """

    def one(match: re.Match[str]) -> str:
        word = match[0]
        return _misspelt(word, random) if random.random() < share else word

    return WORD.sub(one, text)


def _misspelt(word: str, random: np.random.Generator) -> str:
    place = int(random.integers(len(word)))
    letter = LETTERS[random.integers(len(LETTERS))]
    match random.integers(4):
        case 0:
            place = min(place, len(word) - 2)
            return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
        case 1:
            return word[:place] + word[place + 1 :]
        case 2:
            return word[:place] + letter + word[place:]
        case _:
            return word[:place] + letter + word[place + 1 :]


def scores_of(
    runs: Mapping[str, TextClassifier],
    corpus: Corpus,
    split: str,
    share: float,
) -> Iterator[Score]:
    """Yield the score of each run on a split with misspelt words.

    Args:
        runs: classifiers on the same encoder, whose layers are computed once.
    """
    random = np.random.default_rng(SEED)
    texts = [misspell(text, share, random) for text in texts_of(corpus.splits[split])]
    labels = column(corpus.splits[split], "label")
    ids = [document.ids[1:-1] for document in corpus.tokenizer.encode(texts)]
    unknown = np.array([int((document == UNK).sum()) for document in ids])
    encoder = next(iter(runs.values())).encoder
    predicted = {run: np.zeros(len(texts), dtype=np.int64) for run in runs}
    with torch.no_grad():
        for _, batch in text_batches(texts, encoder.tokenizer, TOKEN_BUDGET):
            layers = encoder(batch)[encoder.num_layers - encoder.stored_layers :]
            stored = batch._replace(layers=layers)
            for run, model in runs.items():
                predicted[run][batch.row.numpy()] = model.logits(stored).argmax(1).numpy()
    for run in runs:
        hits = predicted[run] == labels
        yield Score(
            run,
            split,
            share,
            float(hits.mean()),
            float(unknown.sum() / sum(map(len, ids))),
            float(hits[unknown > 0].mean()),
            int((unknown > 0).sum()),
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = harness.arguments("misspellings", __doc__ or "")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="runs of train_cls.py")
    parser.add_argument("--splits", nargs="+", default=["validation", "test"], metavar="SPLIT")
    parser.add_argument("--cache-dir", default=".cache", metavar="DIR")
    args = parser.parse_args(arguments)
    groups: dict[str, dict[str, TextClassifier]] = {}
    for run in args.runs:
        model = load_classifier(run)
        groups.setdefault(fingerprint(model.encoder, None), {})[str(run)] = model
    scores: list[harness.Row] = []
    for runs in groups.values():
        corpus = training_corpus(Path(next(iter(runs))), args.cache_dir)
        for split in args.splits:
            for share in SHARES:
                scores += [one._asdict() for one in scores_of(runs, corpus, split, share)]
    harness.report("misspellings", args.output, {"seed": SEED}, {"misspellings": scores})


if __name__ == "__main__":
    main()
