"""The tasks of a corpus that need no annotation: truecasing of words, the topic of documents."""

from __future__ import annotations

import re

from elmo.data.corpus import Corpus, column, texts_of
from elmo.data.text import PATTERNS
from elmo.errors import ConfigError
from elmo.probing.words import SPLITS, Document, Splits, Word, drawn

TRUECASE, TOPIC = "truecase", "topic"
CORPUS_TASKS = (TRUECASE, TOPIC)
LOWER, CAPITAL = "lower", "capital"
_TOKEN = re.compile(PATTERNS["words"], re.IGNORECASE)


def read_corpus(corpus: Corpus, task: str, rows: int | None) -> Splits:
    """Return the documents of a corpus, labelled for `truecase` or `topic`.

    Args:
        rows: documents to draw from each split; None takes all.

    Raises:
        ConfigError: the corpus has one class, or all of its words are written in the same case.
    """
    if task == TOPIC and len(corpus.class_names) < 2:
        raise ConfigError(
            f"data={corpus.name} has one class, {corpus.class_names[0]!r}, so --task topic has "
            "nothing to tell apart; --corpus RUN names a run on a corpus with classes"
        )
    found: Splits = {}
    for split in SPLITS:
        chosen = corpus.splits[split].select(drawn(len(corpus.splits[split]), rows))
        texts = list(texts_of(chosen))
        if task == TOPIC:
            names = [corpus.class_names[label] for label in column(chosen, "label").tolist()]
            found[split] = list(map(topic_document, texts, names))
        else:
            found[split] = list(map(truecase_document, texts))
    if task == TRUECASE:
        _check_cases(corpus, found)
    return found


def topic_document(text: str, name: str) -> Document:
    """Return a document that is labelled as a whole: the probe reads the mean of its tokens."""
    return Document([text], [Word("", 0, 0, None, {TOPIC: name})])


def truecase_document(text: str) -> Document:
    """Return a text in lower case, in which words are labelled with the case they had.

    A word counts if it follows a word, a number or a comma. The others are left out: at the start
    of the text or after a mark, a dash or a quote, a capital may be that of a sentence.
    """
    units: list[str] = []
    words: list[Word] = []
    before = ""
    for found in _TOKEN.finditer(text):
        token = found[0]
        if token[0].isalpha() and (before == "," or before[-1:].isalnum()):
            case = CAPITAL if token[0].isupper() else LOWER
            words.append(Word(token.lower(), len(units), 0, None, {TRUECASE: case}))
        units.append(token.lower())
        before = token
    return Document(units, words)


def _check_cases(corpus: Corpus, splits: Splits) -> None:
    cases = {word.labels[TRUECASE] for text in splits["train"] for word in text.words}
    if len(cases) < 2:
        raise ConfigError(
            f"the texts of data={corpus.name} have no {'capitals' if LOWER in cases else 'words'} "
            "inside of sentences, so --task truecase has nothing to tell apart; --corpus RUN names "
            "a run on texts with capitals"
        )
