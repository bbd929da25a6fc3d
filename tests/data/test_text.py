from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elmo.data.text import (
    BOS,
    CLEANING_RULES,
    EOS,
    PAD,
    SPECIAL_TOKENS,
    UNK,
    Rule,
    WordTokenizer,
    clean,
)
from elmo.errors import ConfigError, DataError

# The residue is from AG News, the words around it are not.
CASES = {
    "control_characters": ("one\x00two\ttwo\ufeff", "one two two"),
    "clitic": (
        "the world #39;s best don #39;t mind, O &#39;Ss",
        "the world's best don't mind, O 'Ss",
    ),
    "bare_numeric_entity": ("paid #36;5 #151; or less", "paid $5 \u2014 or less"),
    "bare_named_entity": ("R amp;D says quot;no quot;", 'R &D says "no "'),
    "entity": ("&quot;yes&quot; &amp; &#38; no&nbsp;", '"yes" & & no'),
    "tag": ("&lt;b&gt;bold&lt;/b&gt; <br> a < b", "bold a < b"),
    "truncated_tag": ('shares of &lt;A HREF="http://www.inv', "shares of"),
    "escaped_dollar": ("about \\$228 and US\\$5", "about $228 and US$5"),
    "line_break": ("first\\second \\\\third", "first second third"),
    "apostrophe": ("it #146;s \u2018so\u2019", "it's 'so'"),
    "quotation_mark": ("\u201cso\u201d #147;x #148;", '"so" "x "'),
    "white_space": ("  a   b\u00a0c \n", "a b c"),
}


def test_each_rule_has_a_case() -> None:
    assert list(CASES) == [rule.name for rule in CLEANING_RULES]


@pytest.mark.parametrize("name", CASES)
def test_cleaning_rule(name: str) -> None:
    raw, expected = CASES[name]
    assert clean(raw) == expected


@pytest.mark.parametrize("name", CASES)
def test_each_rule_is_needed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    without = tuple(rule for rule in CLEANING_RULES if rule.name != name)
    monkeypatch.setattr("elmo.data.text.CLEANING_RULES", without)
    raw, expected = CASES[name]
    assert clean(raw) != expected


@pytest.mark.parametrize(
    "text", ["AT&T has #1 issue; 3 < 5 > 2", "C# 12; a_b", "Wait... 'quoted' amp; or lt;"[:20]]
)
def test_ordinary_text_is_unchanged(text: str) -> None:
    assert clean(text) == text


@given(st.text(alphabet=st.sampled_from("ab <>&#;39quotlgmp\\$\"'=/ \n")))
def test_cleaning_is_idempotent(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@given(st.text())
def test_cleaning_ends_and_never_grows(text: str) -> None:
    assert len(clean(text)) <= len(text)


ODD = [*"ab19 <>&#;\\$\"'=/\n\x00\x1c\x85\u2003\u200b\u2018\u201d\ufeff", "#39;s", "quot;"]


def changes(rule: Rule, text: str) -> bool:
    """Tell whether a rule changes a text."""
    return rule.pattern.sub(rule.replacement, text) != text


@settings(deadline=None)
@given(st.lists(st.sampled_from(ODD) | st.characters()).map("".join))
def test_a_rule_that_is_skipped_changes_nothing(text: str) -> None:
    for rule in CLEANING_RULES:
        assert rule.possible(text) or not changes(rule, text)


def test_no_single_character_is_skipped_by_mistake() -> None:
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    for rule in CLEANING_RULES:
        matched = {character for match in rule.pattern.findall(every) for character in match}
        for character in matched:
            assert rule.possible(character) or not changes(rule, character)


@pytest.fixture
def tokenizer() -> WordTokenizer:
    """A tokenizer of the words a, b and c."""
    return WordTokenizer.train(["b a a a", "b a c c rare"], min_count=2, max_size=None)


def test_ids_follow_frequency(tokenizer: WordTokenizer) -> None:
    assert tokenizer.words == [*SPECIAL_TOKENS, "a", "b", "c"]
    assert tokenizer.words[PAD] == "<pad>"


def test_unknown_words_and_boundaries(tokenizer: WordTokenizer) -> None:
    (document,) = tokenizer.encode(["a rare B"])
    assert document.words == ["a", "rare", "B"]
    assert document.ids.tolist() == [BOS, 4, UNK, 5, EOS]


def test_special_tokens_in_a_text_are_ordinary_words(tokenizer: WordTokenizer) -> None:
    (document,) = tokenizer.encode(["a <pad> </s>"])
    assert not {PAD, BOS, EOS} & set(document.ids[1:-1].tolist())


def test_both_ways_to_encode_agree(tokenizer: WordTokenizer) -> None:
    texts = ["a b", "", "c c c nothing"]
    streamed = list(tokenizer.encode_ids(texts, chunk=2))
    for one, other in zip(tokenizer.encode(texts), streamed, strict=True):
        assert np.array_equal(one.ids, other)


def test_json_round_trip(tokenizer: WordTokenizer) -> None:
    again = WordTokenizer(tokenizer.json)
    assert again.words == tokenizer.words
    assert again.encode(["a b c"])[0].ids.tolist() == tokenizer.encode(["a b c"])[0].ids.tolist()


def test_max_size_keeps_the_most_frequent() -> None:
    tokenizer = WordTokenizer.train(["a a a b b c"], min_count=1, max_size=6)
    assert tokenizer.words[4:] == ["a", "b"]


def test_token_pattern() -> None:
    tokenizer = WordTokenizer.train(["x"], min_count=1, max_size=None)
    (document,) = tokenizer.encode(["The U.S. firm's 1,200.50 dollars -- don't... 3Q (AP)!"])
    expected = "The|U.S.|firm|'s|1,200.50|dollars|--|don|'t|...|3Q|(|AP|)|!"
    assert "|".join(document.words) == expected


def test_case_is_kept_without_lowercase() -> None:
    texts = ["The U.S. bank 's U.S. Bank"]
    tokenizer = WordTokenizer.train(texts, min_count=1, max_size=None, lowercase=False)
    assert {"Bank", "bank", "U.S.", "The", "'s"} <= set(tokenizer.words)
    assert "the" not in tokenizer.words
    assert WordTokenizer(tokenizer.json).words == tokenizer.words


def test_white_space_separates_words_that_are_tokenized_already() -> None:
    texts = ["do n't @-@ <eos> U.S. ."]
    tokenizer = WordTokenizer.train(texts, 1, None, pre_tokenizer="white_space")
    (document,) = tokenizer.encode(texts)
    assert document.words == texts[0].split()
    assert UNK not in document.ids
    assert WordTokenizer(tokenizer.json).words == tokenizer.words
    with pytest.raises(ConfigError, match=r"pre_tokenizer is 'bpe'; expected one of words, white"):
        WordTokenizer.train(texts, 1, None, pre_tokenizer="bpe")


@pytest.mark.parametrize("arguments", [(0, None), (1, 4)])
def test_sizes_out_of_range_are_refused(arguments: tuple[int, int | None]) -> None:
    with pytest.raises(ConfigError, match=r"data\.m"):
        WordTokenizer.train(["a"], *arguments)


def test_half_a_surrogate_pair_is_refused() -> None:
    tokenizer = WordTokenizer.train(["the bank"], min_count=1, max_size=None)
    with pytest.raises(DataError, match="character 4 is half a surrogate pair"):
        tokenizer.encode(["the bank", "the \udcff"])
