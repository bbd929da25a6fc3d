from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import ROOT
from elmo import nearest as nearest_module
from elmo.corpora import ToyNews
from elmo.encoders import ElmoEncoder, Encoder, StaticEncoder
from elmo.errors import ConfigError, ElmoError
from elmo.latest import latest_run
from elmo.nearest import BLOCK, Search, marked_word, nearest
from elmo.neighbours import in_context, main
from elmo.runs import read_record, write_json
from elmo.text import WordTokenizer, clean

TEXT, POSITION = "the bank raised its rates .", 1


def random_documents(count: int) -> list[str]:
    """Documents of 0 to 9 words, some unknown, some in capitals, some twice."""
    random = np.random.default_rng(0)
    words = np.array([*TEXT.split(), "river", "left", "!", "strange", "other", "Bank", "THE"])
    return [" ".join(random.choice(words, random.integers(10))) for _ in range(count)]


def unit(vectors: torch.Tensor) -> np.ndarray:
    array = vectors.double().numpy()
    return array / np.linalg.norm(array, axis=-1, keepdims=True)


def cosines_by_brute_force(encoder: Encoder, documents: list[str]) -> list[np.ndarray]:
    """The cosine of every word of every document with the query: one (L, T) a document."""
    query = unit(encoder.embed([TEXT])[0].vectors[:, POSITION])
    found = encoder.embed(documents)
    return [np.einsum("ltd,ld->lt", unit(one.vectors), query) for one in found]


def test_contextual_layers_equal_a_search_of_every_word(encoder: ElmoEncoder) -> None:
    documents = [*random_documents(BLOCK + 100), TEXT, TEXT.upper()]
    everything = cosines_by_brute_force(encoder, documents)
    result = nearest(encoder, TEXT, POSITION, documents, 20)
    assert len(result) == 3
    for layer in (1, 2):
        expected = sorted(
            (
                cosines[layer].max()
                for text, cosines in zip(documents, everything, strict=True)
                if text and text.lower() != TEXT
            ),
            reverse=True,
        )
        found = result[layer]
        assert [one.cosine for one in found] == pytest.approx(expected[:20], abs=2e-5)
        assert len({one.document for one in found}) == 20
        for one in found:
            actual = everything[one.document][layer, one.position]
            assert one.cosine == pytest.approx(actual, abs=2e-5)
            assert one.tokens == documents[one.document].split()
            assert one.word == one.tokens[one.position]


def test_layer_zero_lists_each_other_word_once(encoder: ElmoEncoder) -> None:
    documents = random_documents(BLOCK + 100)
    everything = cosines_by_brute_force(encoder, documents)
    result = nearest(encoder, TEXT, POSITION, documents, 100)[0]
    expected: dict[str, tuple[float, int]] = {}
    for number, (text, cosines) in enumerate(zip(documents, everything, strict=True)):
        for word, cosine in zip(text.lower().split(), cosines[0], strict=True):
            known = word if word in encoder.tokenizer.words else "<unk>"
            expected.setdefault(known, (cosine, number))
    assert expected.pop("bank")[0] == pytest.approx(1)
    assert sorted(one.word for one in result) == sorted(expected)
    for one in result:
        cosine, first = expected[one.word]
        assert one.cosine == pytest.approx(cosine, abs=2e-5)
        assert one.document == first
        assert documents[first].lower().split()[one.position] in (one.word, "strange", "other")
    few = nearest(encoder, TEXT, POSITION, documents, 3)[0]
    assert few == result[:3]


def test_order_falls_and_ties_stand_in_the_order_of_the_documents(encoder: ElmoEncoder) -> None:
    again = "its river bank !"
    documents = random_documents(2 * BLOCK)
    for place in (BLOCK + 7, 3, BLOCK - 1):
        documents[place] = again
    result = nearest(encoder, TEXT, POSITION, documents, len(documents))
    for found in result:
        ranks = [(-one.cosine, one.document) for one in found]
        assert ranks == sorted(ranks)
    for found in result[1:]:
        places = [one.document for one in found if " ".join(one.tokens) == again]
        assert places == [3, BLOCK - 1, BLOCK + 7]
    assert nearest(encoder, TEXT, POSITION, iter(documents), len(documents)) == result


def test_the_same_context_has_cosine_one_and_the_sentence_itself_is_left_out(
    encoder: ElmoEncoder,
) -> None:
    """Two unknown words have one id, so that other sentences can have the very same vectors."""
    sentence = "The bank left its bank sadly"
    documents = [*random_documents(50), sentence, sentence.upper(), "The bank left its bank soon"]
    for position in (1, 4):
        for found in nearest(encoder, sentence, position, documents, 5)[1:]:
            assert (found[0].document, found[0].position) == (52, position)
            assert found[0].cosine == 1
            assert found[1].cosine < 1
            assert not {50, 51} & {one.document for one in found}


def test_an_unknown_word_has_no_unknown_neighbour_in_layer_zero(encoder: ElmoEncoder) -> None:
    query = marked_word("the [strange] river", encoder.tokenizer)
    assert not query.known
    documents = ["another other", "strange rates", "the river", "its bank"]
    static, *contextual = nearest(encoder, query.text, query.position, documents, 10)
    assert sorted(one.word for one in static) == ["bank", "its", "rates", "river", "the"]
    for found in contextual:
        assert {"another", "other"} & {one.word for one in found}


def test_a_static_encoder_has_one_list() -> None:
    torch.manual_seed(0)
    encoder = StaticEncoder(WordTokenizer.train([TEXT], 1, None), dim=5)
    (found,) = nearest(encoder, TEXT, POSITION, [TEXT], 9)
    assert sorted(one.word for one in found) == sorted({"the", "raised", "its", "rates", "."})


def test_no_more_than_a_block_is_encoded_and_kept(
    encoder: ElmoEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest_module, "BLOCK", 4)
    search = Search(encoder, TEXT, POSITION, count=2)
    read = 0

    def documents() -> Any:
        nonlocal read
        for document in random_documents(50):
            assert read - search.documents < 4
            assert all(len(found) <= 2 for found in search.best)
            read += 1
            yield document

    search.feed(documents())
    assert search.documents == read == 50
    assert search.tokens == sum(len(text.split()) for text in random_documents(50))
    whole = Search(encoder, TEXT, POSITION, count=2)
    whole.feed(random_documents(50))
    for one, other in zip(search.best, whole.best, strict=True):
        assert [n.cosine for n in one] == pytest.approx([n.cosine for n in other], abs=2e-5)


@pytest.mark.parametrize(
    ("text", "position", "documents", "count", "message"),
    [
        (TEXT, 1, ["the bank"], 0, "count of neighbours is 0"),
        (TEXT, 6, ["the bank"], 1, "position is 6; .* has 6 tokens"),
        (TEXT, -1, ["the bank"], 1, "position is -1"),
        (" ", 0, ["the bank"], 1, "has 0 tokens"),
        (TEXT, 1, "the bank", 1, "documents is one string"),
    ],
)
def test_mistakes_of_a_caller(
    encoder: ElmoEncoder, text: str, position: int, documents: Any, count: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        nearest(encoder, text, position, documents, count)


@pytest.mark.parametrize(
    ("sentence", "position", "word"),
    [
        ("the bank left its [bank] !", 4, "bank"),
        ("the [bank] left its bank !", 1, "bank"),
        ("[The] bank", 0, "The"),
        ("a\\line of the world #39;s [ bank ] ,", 6, "bank"),
        ("the world [#39;s] bank", 2, "'s"),
        ("&lt;b&gt;the&lt;/b&gt; [bank] &amp; more", 1, "bank"),
        ("it cost [3.5] $", 2, "3.5"),
        ("the [U.S.] bank", 1, "U.S."),
        ("the bank[.]", 2, "."),
    ],
)
def test_the_marked_word_is_found(
    encoder: ElmoEncoder, sentence: str, position: int, word: str
) -> None:
    query = marked_word(sentence, encoder.tokenizer)
    assert query.position == position
    assert query.tokens[position] == word
    assert query.text == clean(query.text)
    assert encoder.embed([query.text])[0].tokens == query.tokens
    assert query.known == (word.lower() in encoder.tokenizer.words)


PIECES = ["bank", "Bank", "the", "U.S.", "3.5", "'s", "--", "...", "$", "a1", "(", "\u00fcber"]


@settings(max_examples=50, deadline=None)
@given(words=st.lists(st.sampled_from(PIECES), min_size=1), data=st.data())
def test_the_marked_word_is_found_wherever_it_stands(words: list[str], data: st.DataObject) -> None:
    tokenizer = WordTokenizer.train(["the bank"], 1, None)
    position = data.draw(st.integers(0, len(words) - 1))
    marked = [*words[:position], f"[{words[position]}]", *words[position + 1 :]]
    query = marked_word(" ".join(marked), tokenizer)
    assert (query.tokens, query.position) == (words, position)


@pytest.mark.parametrize(
    ("sentence", "message"),
    [
        ("the bank", r"has 0 '\[' and 0 '\]'; expected one word in brackets"),
        ("the [bank] left its [bank]", r"has 2 '\[' and 2 '\]'"),
        ("the [[bank]]", r"has 2 '\[' and 2 '\]'"),
        ("the ]bank[", "expected one word in brackets"),
        ("the [bank", r"has 1 '\[' and 0 '\]'"),
        ("", r"has 0 '\['"),
        ("the [] bank", r"'\[\]' holds no token"),
        ("the [ ] bank", r"holds no token"),
        ("the [<b>] bank", "holds no token"),
        ("the [river bank] left", r"'\[river bank\]' holds 2 tokens \(river, bank\)"),
        ("the bank rais[ed] its", r"'\[ed\]' cut a token in two: .* 'the bank raised its'"),
        ("it cost [3].5 $", "cut a token in two"),
        ("the [U.S].", "holds 3 tokens"),
        ("the [U.]S.", "cut a token in two|holds 2 tokens"),
    ],
)
def test_a_badly_marked_word(encoder: ElmoEncoder, sentence: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        marked_word(sentence, encoder.tokenizer)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("width", [5, 20, 21, 40, 200])
@pytest.mark.parametrize("position", [0, 4, 9])
def test_a_context_is_cut_to_a_width(width: int, position: int) -> None:
    tokens = ["After", "the", "shares", "of", "Transdex", "tumbled", ",", "the", "fans", "sang"]
    shown = in_context(tokens, position, width).split()
    word = f"[{tokens[position]}]"
    assert word in shown
    assert len(" ".join(shown)) <= max(width, len(word))
    start = position - shown.index(word)
    assert [item.strip("[]") for item in shown] == tokens[start : start + len(shown)]
    if width == 200:
        assert len(shown) == len(tokens)


@pytest.fixture
def command(pretrained: Path, cache_dir: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs `python -m elmo.neighbours` on the toy biLM; what it printed, and what it told."""

    def run(sentence: str, *options: str) -> tuple[str, str]:
        folders = ["--output-dir", str(pretrained), "--cache-dir", str(cache_dir)]
        capsys.readouterr()
        main([sentence, *folders, "--device", "cpu", *options])
        printed = capsys.readouterr()
        return printed.out, printed.err

    return run


SENTENCE = "Shares of the [bank] rose after the merger."


def test_the_validation_split_of_the_models_corpus(command: Any, toy: ToyNews) -> None:
    printed, told = command(SENTENCE, "--format", "jsonl", "--count", "4")
    split = toy.splits["validation"]
    texts = dict(zip(split["row"], split["text"], strict=True))
    lines = [json.loads(line) for line in printed.splitlines()]
    assert [(line["layer"], line["rank"]) for line in lines] == [
        (layer, rank) for layer in (0, 1, 2) for rank in (1, 2, 3, 4)
    ]
    for line in lines:
        found = toy.tokenizer.encode([texts[line["row"]]])[0].words
        assert line["tokens"] == found
        word = found[line["position"]]
        assert line["word"] == (word.lower() if line["layer"] == 0 else word)
        assert -1 <= line["cosine"] <= 1
    tokens = sum(len(document.words) for document in toy.tokenizer.encode(list(texts.values())))
    assert f"searched 200 documents, {tokens:,} tokens: validation split of data=toy" in told
    assert "model: " in told


def test_a_file_is_searched_by_line(command: Any, tmp_path: Path) -> None:
    lines = ["Rain fell .", "The bank rose .", "Shares of the bank rose after the merger .", "End"]
    file = tmp_path / "texts.txt"
    file.write_text("\n".join(lines))
    for rows, expected in (("4", {1, 2, 4}), ("2", {1, 2})):
        options = ("--file", str(file), "--rows", rows, "--format", "jsonl")
        printed, told = command(SENTENCE.replace(".", " ."), *options)
        found = [json.loads(line) for line in printed.splitlines()]
        assert {line["row"] for line in found if line["layer"] == 1} == expected
        for line in found:
            assert " ".join(line["tokens"]) == lines[line["row"] - 1]
        assert f"searched {rows} documents" in told
        assert str(file) in told


def test_a_column_of_a_file(command: Any, tmp_path: Path) -> None:
    file = tmp_path / "texts.csv"
    file.write_text('id,story\n7,"The bank rose ."\n8,"Rain fell ."\n')
    options = ("--file", str(file), "--column", "story", "--format", "jsonl")
    printed, _ = command(SENTENCE, *options)
    found = [json.loads(line) for line in printed.splitlines()]
    top = {" ".join(line["tokens"]) for line in found if line["layer"] == 1}
    assert top == {"The bank rose .", "Rain fell ."}


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_fits(command: Any, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    printed, _ = command(SENTENCE, "--count", "3")
    lines = printed.splitlines()
    assert SENTENCE in lines[0]
    assert max(map(len, lines)) <= width
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")
    ]
    assert [row[0] for row in rows] == ["0", "", "", "1", "", "", "2", "", ""]  # no line wrapped
    assert [row[1] for row in rows] == ["1", "2", "3"] * 3
    assert all(row[3] == "" and "[" not in row[4] for row in rows[:3])
    assert all(row[3].isdigit() and row[4].count("[") == 1 for row in rows[3:])


def test_an_unknown_word_is_told(command: Any) -> None:
    _, told = command("The bank of the river was [unheardof]")
    assert "'unheardof' is not in the vocabulary: its layer 0 is the vector of <unk>" in told
    assert "vocabulary" not in command(SENTENCE)[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["the bank"], "expected one word in brackets"),
        ([SENTENCE, "--count", "0"], "--count is 0; expected 1 or more"),
        ([SENTENCE, "--rows", "-1"], "--rows is -1; expected 1 or more"),
        ([SENTENCE, "--column", "text"], "--column text names a column of --file"),
        ([SENTENCE, "--model", "nowhere.pt"], r"nowhere\.pt: no such file"),
        ([SENTENCE, "--output-dir", "nowhere"], r"nowhere/latest: no biLM was trained yet"),
        ([SENTENCE, "--file", "nowhere.txt"], r"nowhere\.txt"),
        ([SENTENCE, "--device", "abacus"], "--device abacus"),
    ],
)
def test_mistakes_end_in_one_line(command: Any, options: list[str], message: str) -> None:
    with pytest.raises(ElmoError, match=message) as caught:
        command(*options)
    assert "\n" not in str(caught.value)


def test_without_its_corpus_a_model_still_searches_a_file(
    command: Any, pretrained: Path, tmp_path: Path
) -> None:
    """A record that is gone, or whose files are, ends in an error that names --file."""
    run = latest_run(pretrained, "toy")
    shutil.copy(run / "bilstm.pt", tmp_path)
    with pytest.raises(ElmoError, match=r"metrics\.json: no such file.*--file FILE"):
        command(SENTENCE, "--model", str(tmp_path))
    record = read_record(run)
    data = record["settings"]["data"]
    for name in ("rows", "test_rows", "seed"):
        del data[name]
    data |= {"_target_": "elmo.ag_news.AgNews", "dir": str(tmp_path / "gone")}
    write_json(tmp_path / "metrics.json", record)
    with pytest.raises(ElmoError, match=r"gone/train\.csv: no such file; .*--file FILE") as caught:
        command(SENTENCE, "--model", str(tmp_path / "bilstm.pt"))
    assert "data.dir" not in str(caught.value)
    file = tmp_path / "texts.txt"
    file.write_text("The bank rose .\n")
    assert "[bank]" in command(SENTENCE, "--model", str(tmp_path), "--file", str(file))[0]


def test_an_empty_file(command: Any, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(ElmoError, match=r"empty\.txt"):
        command(SENTENCE, "--file", str(tmp_path / "empty.txt"))


def test_help_waits_for_no_torch() -> None:
    code = (
        "import sys\nfrom elmo.neighbours import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'torch', 'lightning', 'datasets'} & set(sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "--column" in result.stdout
