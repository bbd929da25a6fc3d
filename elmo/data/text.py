"""From raw descriptions to token ids: named cleaning rules and a word-level tokenizer."""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import count, islice, product
from typing import Any, NamedTuple, Self

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from elmo.errors import ArtifactError, ConfigError, DataError, check_range

PAD, UNK, BOS, EOS = 0, 1, 2, 3
SPECIAL_TOKENS = ("<pad>", "<unk>", "<s>", "</s>")


class Rule(NamedTuple):
    """One cleaning rule: every match of `pattern` becomes `replacement`.

    `possible` is quicker than the pattern, and false only for texts that the rule leaves alone.
    """

    name: str
    pattern: re.Pattern[str]
    replacement: str | Callable[[re.Match[str]], str]
    possible: Callable[[str], bool]


def _holds(sign: str) -> Callable[[str], bool]:
    return lambda text: sign in text


def _not_ascii(text: str) -> bool:
    return not text.isascii()


def _unprintable(text: str) -> bool:
    """Has control or format characters, which to Python all white space but " " belongs to."""
    return not text.isprintable()


def _wide(text: str) -> bool:
    return "  " in text or _unprintable(text)


# In the order in which they apply: the entities first, because they hide tags and quotes.
CLEANING_RULES = (
    Rule("control_characters", re.compile(r"[\x00-\x1f\x7f\u200b\ufeff]"), " ", _unprintable),
    # The corpus lost the "&" of its entities, a space stands in its place: "the world #39;s".
    Rule(
        "clitic", re.compile(r" ?&?#(?:39|146);(?=(?:s|t|re|ve|ll|d|m)\b)", re.I), "'", _holds("#")
    ),
    Rule("bare_numeric_entity", re.compile(r"(?<![&\w])#(?=\d{2,5};)"), "&#", _holds("#")),
    Rule(
        "bare_named_entity", re.compile(r"(?<![&\w])(?=(?:quot|amp|lt|gt|nbsp);)"), "&", _holds(";")
    ),
    Rule(
        "entity",
        re.compile(r"&(?:#\d+|#x[\da-fA-F]+|\w+);"),
        lambda m: html.unescape(m[0]),
        _holds("&"),
    ),
    Rule("tag", re.compile(r"</?[A-Za-z][^<>]*>"), " ", _holds("<")),
    # Descriptions are cut at a fixed length, sometimes inside a link: `<A HREF="http://www.inv`.
    Rule("truncated_tag", re.compile(r"<[A-Za-z]+\s[^<>=]*=[^<>]*$"), " ", _holds("<")),
    # Only where a run begins: tried at each of its n signs, it would take n * n steps.
    Rule("escaped_dollar", re.compile(r"(?<!\\)\\+(?=\$)"), "", _holds("\\")),
    Rule("line_break", re.compile(r"\\+"), " ", _holds("\\")),
    Rule("apostrophe", re.compile("[\u2018\u2019]"), "'", _not_ascii),
    Rule("quotation_mark", re.compile("[\u201c\u201d]"), '"', _not_ascii),
    Rule("white_space", re.compile(r"\s+"), " ", _wide),
)


# What is nested deeper than news ever is ("&amp;amp;amp;...", "<a <a <a >>>") gives one level a
# pass: a text made for it would take forever. After these passes its signs mean nothing any more.
PASSES = 8
NESTING = str.maketrans("<;", "  ")


def clean(text: str) -> str:
    """Apply `CLEANING_RULES` until nothing changes, so that cleaning cleaned text is harmless."""
    for number in count(1):
        before = text
        for _, pattern, replacement, possible in CLEANING_RULES:
            if possible(text):
                text = pattern.sub(replacement, text)
        text = text.strip()
        if text == before:
            break
        if number == PASSES:
            text = text.translate(NESTING)
    return text


# Words keep their digits; clitics, numbers with separators, dotted abbreviations and runs of dots
# or dashes are tokens of their own; any other punctuation mark stands alone.
PATTERNS = {
    "words": (
        r"(?:[a-z]\.){2,}|\d+(?:[.,]\d+)*(?!\w)|\w+|'(?:s|t|re|ve|ll|d|m)\b|\.{2,}|-{2,}|[^\w\s]"
    ),
    "white_space": r"\S+",  # of texts that were tokenised by others
}


class TokenizedText(NamedTuple):
    """One document: its words as they stand in the text, and the ids with `<s>` and `</s>`."""

    words: list[str]
    ids: np.ndarray  # (T,) int32, T = len(words) + 2


class WordTokenizer:
    """Lower-cased words by frequency: id 0 is padding, then `<unk>`, `<s>`, `</s>`, the words.

    A thin wrapper around a Hugging Face `tokenizers` WordLevel model, whose JSON is what the
    artifacts keep. Ids fall in frequency order, which the adaptive softmax relies on.

    Args:
        text: that JSON.

    Raises:
        ArtifactError: it is not of a tokenizer that `train` made; only the words may differ.
    """

    def __init__(self, text: str) -> None:
        _check(text)
        self.json = text
        self._tokenizer = Tokenizer.from_str(text)
        self._tokenizer.encode_special_tokens = True  # "<pad>" in a text is three tokens

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        min_count: int,
        max_size: int | None,
        lowercase: bool = True,
        pre_tokenizer: str = "words",
    ) -> Self:
        """Count the words of `texts` and keep those seen at least `min_count` times.

        Args:
            texts: cleaned documents of the train split, and of no other.
            min_count: rarer words become `<unk>`.
            max_size: keep at most so many entries, the special ones included; None keeps all.
            lowercase: "Apple" and "apple" are one word.
            pre_tokenizer: what a word is, a name in `PATTERNS`.
        """
        check_range({"data.min_count": min_count}, at_least=1)
        check_range({"data.max_vocabulary": max_size}, at_least=5, otherwise="null")
        tokenizer = _without_words(lowercase, pattern_of(pre_tokenizer))
        trainer = trainers.WordLevelTrainer(
            vocab_size=max_size or 2**31,
            min_frequency=min_count,
            special_tokens=list(SPECIAL_TOKENS),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer.to_str())

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    @cached_property
    def words(self) -> list[str]:
        """Every entry of the vocabulary, by id."""
        return sorted(vocabulary := self._tokenizer.get_vocab(), key=vocabulary.__getitem__)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.json.encode()).hexdigest()[:16]

    def encode(self, texts: Sequence[str]) -> list[TokenizedText]:
        """Tokenise cleaned texts; an empty one gives `<s> </s>` alone.

        Raises:
            DataError: a text holds half a surrogate pair, as bytes that are not UTF-8 become.
        """
        try:
            encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        except TypeError as error:
            for text in texts:
                _refuse_surrogates(text)
            raise error
        return [
            TokenizedText(
                [text[start:end] for start, end in encoding.offsets],
                np.array([BOS, *encoding.ids, EOS], dtype=np.int32),
            )
            for text, encoding in zip(texts, encodings, strict=True)
        ]

    def encode_ids(self, texts: Iterable[str], chunk: int = 1000) -> Iterator[np.ndarray]:
        """The ids (T,) of each text, tokenised `chunk` texts at a time."""
        texts = iter(texts)
        while block := list(islice(texts, chunk)):
            for encoding in self._tokenizer.encode_batch_fast(block, add_special_tokens=False):
                yield np.array([BOS, *encoding.ids, EOS], dtype=np.int32)


def pattern_of(pre_tokenizer: str) -> str:
    """
    Raises:
        ConfigError: there is none of that name.
    """
    if pre_tokenizer not in PATTERNS:
        raise ConfigError(
            f"data.pre_tokenizer is {pre_tokenizer!r}; expected one of {', '.join(PATTERNS)}"
        )
    return PATTERNS[pre_tokenizer]


def _without_words(lowercase: bool, pattern: str) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(unk_token=SPECIAL_TOKENS[UNK]))
    steps = [normalizers.NFKC(), *([normalizers.Lowercase()] if lowercase else [])]
    tokenizer.normalizer = normalizers.Sequence(steps)
    pattern = pattern if lowercase else f"(?i){pattern}"  # "U.S." stays one word
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True)
    return tokenizer


def _known() -> Iterator[dict[str, Any]]:
    """The JSON of every tokenizer that `train` makes, without words."""
    for lowercase, pattern in product((True, False), PATTERNS.values()):
        tokenizer = _without_words(lowercase, pattern)
        tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
        expected = json.loads(tokenizer.to_str())
        del expected["model"]["vocab"]
        yield expected


def _check(text: str) -> None:
    """Refuse a tokenizer that is not ours: another's patterns could take forever."""
    try:
        content = json.loads(text)
        words: Any = content["model"].pop("vocab")
        whole = content in _known() and all(
            words.get(word) == index for index, word in enumerate(SPECIAL_TOKENS)
        )
        # The type too, because True and 1.0 equal 1.
        ids = [index for index in words.values() if type(index) is int]
        whole = whole and sorted(ids) == list(range(len(words)))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise ArtifactError(
            "its tokenizer is not one that this version of elmo makes; use the version of elmo "
            "that wrote it, or train again"
        )


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{text!r:.60}: character {error.start} is half a surrogate pair, which no UTF-8 text "
            "holds; was it read as another encoding?"
        ) from error
