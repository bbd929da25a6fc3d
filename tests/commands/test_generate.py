from __future__ import annotations

from pathlib import Path

import pytest

from conftest import error_line
from elmo.commands.generate import main
from elmo.models.generation import generate, join_words
from elmo.models.language_model import load_language_model
from elmo.runs.latest import latest_run


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_prints_what_generate_writes(
    pretrained: Path, capsys: pytest.CaptureFixture[str], direction: str
) -> None:
    command = ["Zebras said the", "--direction", direction, "--output-dir", str(pretrained)]
    main([*command, "--count", "3", "--max-words", "6", "--seed", "4", "--top-k", "9"])
    printed = capsys.readouterr()
    run = latest_run(pretrained, "toy")
    texts = generate(
        load_language_model(run), "Zebras said the", direction,  # type: ignore[arg-type]
        temperature=0.8, top_k=9, seed=4, count=3, max_words=6,
    )  # fmt: skip
    assert printed.out.splitlines() == [join_words(words) for words in texts]
    assert len(set(map(tuple, texts))) == 3
    for words in texts:
        own = words[:3] if direction == "forward" else words[-3:]
        assert own == ["Zebras", "said", "the"]
    model, unknown = printed.err.splitlines()
    assert model.startswith(f"model: {run} (toy, validation perplexity ")
    assert unknown == "not in the vocabulary, read as <unk>: Zebras"


def test_the_prompt_may_be_left_out(pretrained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--output-dir", str(pretrained), "--temperature", "0", "--count", "2"])
    printed = capsys.readouterr()
    one, other = printed.out.splitlines()
    assert one == other != ""
    assert "vocabulary" not in printed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--temperature", "-1"], "temperature is -1.0; expected 0 or more"),
        (["--top-k", "0"], "top_k is 0; expected 1 or more"),
        (["--count", "0"], "count is 0; expected 1 or more"),
        (["--max-words", "0"], "max_words is 0; expected 1 or more"),
        (["--device", "toaster"], "--device toaster is not available on this machine"),
        (["--model", "nowhere.pt"], "nowhere.pt: no such file; `python train_lm.py` writes one"),
        (["--output-dir", "nowhere"], "nowhere/latest: no biLM was trained yet"),
    ],
)
def test_mistakes_end_in_one_line(
    pretrained: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    command = ["the", "--output-dir", str(pretrained), *arguments]
    assert message in error_line(lambda: main(command), capsys)
