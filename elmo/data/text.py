"""Named cleaning rules for raw descriptions, and a word-level tokenizer."""

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
MARKS = {"<S>": BOS, "</S>": EOS}  # the words that stand for the marks in published models


class Rule(NamedTuple):
    """A cleaning rule: every match of `pattern` is replaced.

    Attributes:
        name: what the rule removes or replaces.
        pattern: what is matched.
        replacement: the new text, or a function that makes it from a match.
        possible: a check faster than the pattern; if it is false, the rule changes nothing.
    """

    name: str
    pattern: re.Pattern[str]
    replacement: str | Callable[[re.Match[str]], str]
    possible: Callable[[str], bool]


def _has(character: str) -> Callable[[str], bool]:
    return lambda text: character in text


def _not_ascii(text: str) -> bool:
    return not text.isascii()


def _unprintable(text: str) -> bool:
    """Tell whether a text has control or format characters, or white space other than " "."""
    return not text.isprintable()


def _has_wide_space(text: str) -> bool:
    return "  " in text or _unprintable(text)


# In the order in which they apply: entities first, because they hide tags and quotes.
CLEANING_RULES = (
    Rule("control_characters", re.compile(r"[\x00-\x1f\x7f\u200b\ufeff]"), " ", _unprintable),
    # In AG News a space has replaced the "&" of entities: "the world #39;s".
    Rule("clitic", re.compile(r" ?&?#(?:39|146);(?=(?:s|t|re|ve|ll|d|m)\b)", re.I), "'", _has("#")),
    Rule("bare_numeric_entity", re.compile(r"(?<![&\w])#(?=\d{2,5};)"), "&#", _has("#")),
    Rule(
        "bare_named_entity", re.compile(r"(?<![&\w])(?=(?:quot|amp|lt|gt|nbsp);)"), "&", _has(";")
    ),
    Rule(
        "entity",
        re.compile(r"&(?:#\d+|#x[\da-fA-F]+|\w+);"),
        lambda m: html.unescape(m[0]),
        _has("&"),
    ),
    Rule("tag", re.compile(r"</?[A-Za-z][^<>]*>"), " ", _has("<")),
    # Descriptions are cut at a fixed length, sometimes inside a link: `<A HREF="http://www.inv`.
    Rule("truncated_tag", re.compile(r"<[A-Za-z]+\s[^<>=]*=[^<>]*$"), " ", _has("<")),
    # Only at the start of a run: tried at each of its n backslashes, it would take n * n steps.
    Rule("escaped_dollar", re.compile(r"(?<!\\)\\+(?=\$)"), "", _has("\\")),
    Rule("line_break", re.compile(r"\\+"), " ", _has("\\")),
    Rule("apostrophe", re.compile("[\u2018\u2019]"), "'", _not_ascii),
    Rule("quotation_mark", re.compile("[\u201c\u201d]"), '"', _not_ascii),
    Rule("white_space", re.compile(r"\s+"), " ", _has_wide_space),
)


# Each pass removes one level of nesting ("&amp;amp;amp;...", "<a <a <a >>>"), so a malicious text
# could take forever. After these passes, more than news ever needs, its "<" and ";" become spaces.
MAX_PASSES = 8
NESTING = str.maketrans("<;", "  ")


def clean(text: str) -> str:
    """Apply `CLEANING_RULES` until nothing changes, so that cleaning twice changes nothing."""
    for number in count(1):
        before = text
        for _, pattern, replacement, possible in CLEANING_RULES:
            if possible(text):
                text = pattern.sub(replacement, text)
        text = text.strip()
        if text == before:
            break
        if number == MAX_PASSES:
            text = text.translate(NESTING)
    return text


# Words keep their digits; clitics, numbers with separators, dotted abbreviations, and runs of dots
# or dashes are separate tokens, and so is every other punctuation mark.
PATTERNS = {
    "words": (
        r"(?:[a-z]\.){2,}|\d+(?:[.,]\d+)*(?!\w)|\w+|'(?:s|t|re|ve|ll|d|m)\b|\.{2,}|-{2,}|[^\w\s]"
    ),
    "white_space": r"\S+",  # for texts that are tokenized already
}


class TokenizedText(NamedTuple):
    """The words and ids of a document.

    Attributes:
        words: the words as they are written in the text.
        ids: their ids between those of `<s>` and `</s>`, int32 (T,), T = len(words) + 2.
    """

    words: list[str]
    ids: np.ndarray


class WordTokenizer:
    """A word-level tokenizer: ids of padding, `<unk>`, `<s>`, `</s>`, then words by frequency.

    A thin wrapper around a WordLevel model of Hugging Face `tokenizers`; artifacts store its JSON.
    The adaptive softmax relies on the order of the ids: a more frequent word has a lower one.

    Args:
        text: the JSON of the tokenizer.
        max_characters: character ids of a word, where the model reads the spelling of words; None
            where it reads their ids.

    Attributes:
        json: the same JSON.

    Raises:
        ArtifactError: `train` makes no tokenizer like this; only the words may differ.
    """

    def __init__(self, text: str, max_characters: int | None = None) -> None:
        _check_supported(text)
        self.json = text
        self.max_characters = max_characters
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
        """Count the words of `texts` and keep those that occur at least `min_count` times.

        Args:
            texts: cleaned documents of the train split, and of no other.
            min_count: rarer words become `<unk>`.
            max_size: maximum number of entries, special ones included; None keeps all.
            lowercase: whether "Apple" and "apple" are the same word.
            pre_tokenizer: the name in `PATTERNS` of the pattern that finds words.

        Raises:
            ConfigError: an argument is out of range, or there is no such pattern.
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

    @classmethod
    def of_words(
        cls, words: Sequence[str], pre_tokenizer: str = "words", max_characters: int | None = None
    ) -> Self:
        """Return the tokenizer of a published model, which changes no character of a word.

        Args:
            words: the words of the vocabulary without the special ones, in the order of their ids.
            pre_tokenizer: see `train`.
            max_characters: see `WordTokenizer`.

        Raises:
            ConfigError: there is no such pattern.
        """
        tokenizer = _without_words(False, pattern_of(pre_tokenizer), normalize=False)
        tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
        content = json.loads(tokenizer.to_str())
        content["model"]["vocab"] = {
            word: number for number, word in enumerate([*SPECIAL_TOKENS, *words])
        }
        return cls(json.dumps(content), max_characters)

    @property
    def reads_characters(self) -> bool:
        """Whether the model reads the spelling of words, so that none is unknown to it."""
        return self.max_characters is not None

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    @cached_property
    def words(self) -> list[str]:
        """All entries of the vocabulary, by id."""
        return sorted(vocabulary := self._tokenizer.get_vocab(), key=vocabulary.__getitem__)

    @property
    def fingerprint(self) -> str:
        """The hash of the tokenizer's JSON and, where words are spelled, of their length."""
        spelled = f" {self.max_characters}" if self.max_characters else ""
        return hashlib.sha256(f"{self.json}{spelled}".encode()).hexdigest()[:16]

    def encode(self, texts: Sequence[str]) -> list[TokenizedText]:
        """Tokenize cleaned texts; an empty text becomes `<s> </s>`.

        Raises:
            DataError: a text contains half a surrogate pair; bytes that are not UTF-8 become one.
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

    def encode_tokens(self, documents: Iterable[Sequence[str]]) -> list[TokenizedText]:
        """Return the words and ids of documents that are tokenized already.

        As in the published models, the words `<S>` and `</S>` stand for the marks `<s>` and `</s>`.
        """
        normalizer = self._tokenizer.normalizer
        found = []
        for words in documents:
            normal = words if normalizer is None else map(normalizer.normalize_str, words)
            ids = [
                MARKS.get(word, self._ids.get(as_known, UNK))
                for word, as_known in zip(words, normal, strict=True)
            ]
            found.append(TokenizedText(list(words), np.array([BOS, *ids, EOS], dtype=np.int32)))
        return found

    @cached_property
    def _ids(self) -> dict[str, int]:
        """The ids of the words, without the special ones."""
        words = enumerate(self.words[len(SPECIAL_TOKENS) :], start=len(SPECIAL_TOKENS))
        return {word: number for number, word in words}

    def encode_ids(self, texts: Iterable[str], chunk: int = 1000) -> Iterator[np.ndarray]:
        """Yield the ids (T,) of each text; `chunk` texts are tokenized at a time."""
        texts = iter(texts)
        while block := list(islice(texts, chunk)):
            for encoding in self._tokenizer.encode_batch_fast(block, add_special_tokens=False):
                yield np.array([BOS, *encoding.ids, EOS], dtype=np.int32)


def pattern_of(pre_tokenizer: str) -> str:
    """Return the pattern with a name in `PATTERNS`.

    Raises:
        ConfigError: there is no such pattern.
    """
    if pre_tokenizer not in PATTERNS:
        raise ConfigError(
            f"data.pre_tokenizer is {pre_tokenizer!r}; expected one of {', '.join(PATTERNS)}"
        )
    return PATTERNS[pre_tokenizer]


def _without_words(lowercase: bool, pattern: str, normalize: bool = True) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(unk_token=SPECIAL_TOKENS[UNK]))
    if normalize:
        steps = [normalizers.NFKC(), *([normalizers.Lowercase()] if lowercase else [])]
        tokenizer.normalizer = normalizers.Sequence(steps)
    pattern = pattern if lowercase else f"(?i){pattern}"  # "U.S." stays one word
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True)
    return tokenizer


def _supported_tokenizers() -> Iterator[dict[str, Any]]:
    """Yield the JSON content of every tokenizer that `train` can make, without words."""
    normalizations = ((True, True), (False, True), (False, False))
    for (lowercase, normalize), pattern in product(normalizations, PATTERNS.values()):
        tokenizer = _without_words(lowercase, pattern, normalize)
        tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
        expected = json.loads(tokenizer.to_str())
        del expected["model"]["vocab"]
        yield expected


def _check_supported(text: str) -> None:
    """Check that `train` can make this tokenizer: the patterns of another could take forever."""
    try:
        content = json.loads(text)
        words: Any = content["model"].pop("vocab")
        supported = content in _supported_tokenizers() and all(
            words.get(word) == index for index, word in enumerate(SPECIAL_TOKENS)
        )
        # The type matters, because True and 1.0 equal 1.
        ids = [index for index in words.values() if type(index) is int]
        supported = supported and sorted(ids) == list(range(len(words)))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        supported = False
    if not supported:
        raise ArtifactError(
            "its tokenizer is not one that this version of elmo makes; use the version of elmo "
            "that wrote it, or train again"
        )


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{text!r:.60}: character {error.start} is half a surrogate pair, which UTF-8 text "
            "cannot contain; check that the text was read with the right encoding"
        ) from error
