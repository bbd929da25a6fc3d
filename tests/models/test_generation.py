from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
import torch

from elmo.data.text import BOS, EOS, PAD, UNK, WordTokenizer
from elmo.errors import ArtifactError, ConfigError
from elmo.models.generation import Direction, generate, join_words
from elmo.models.language_model import LanguageModel
from elmo.modules.bilm import BiLM
from elmo.modules.softmax import AdaptiveSoftmax

DIRECTIONS: list[Direction] = ["forward", "backward"]
ENDS = {"forward": EOS, "backward": BOS}


@pytest.fixture(scope="module")
def trained() -> LanguageModel:
    """A language model with large random weights, so that its probabilities differ strongly."""
    torch.manual_seed(9)
    text = "the bank of a river left its bed and the officials said that oil rates would go up ."
    tokenizer = WordTokenizer.train([text], min_count=1, max_size=None)
    model = LanguageModel(
        BiLM(len(tokenizer), 6, 8, dropout=0.5), AdaptiveSoftmax(8, len(tokenizer)), tokenizer
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model.eval()


@pytest.fixture
def rigged(trained: LanguageModel) -> Iterator[torch.Tensor]:
    """Numbers (V,) that are added to the log-probabilities before these are normalised again."""
    model, tokenizer = trained, trained.tokenizer
    extra = torch.zeros(len(tokenizer))
    exact = model.softmax.log_prob
    model.softmax.log_prob = lambda hidden: (exact(hidden) + extra).log_softmax(1)  # type: ignore[method-assign]
    yield extra
    del model.softmax.log_prob


def ids_of(tokenizer: WordTokenizer, words: list[str]) -> list[int]:
    """Return the ids of a text, including <s> and </s>."""
    return tokenizer.encode([" ".join(words)])[0].ids.tolist()


@torch.no_grad()
def log_probs_of(model: LanguageModel, ids: list[int], direction: Direction) -> torch.Tensor:
    """Return the log-probabilities (T-1, V) of the ordinary forward pass at each target."""
    hidden, _ = model.hidden_and_targets(torch.tensor([ids]), torch.tensor([len(ids)]))
    log_probs = model.softmax.log_prob(hidden[DIRECTIONS.index(direction)])
    forbidden = {PAD, UNK, BOS, EOS} - {ENDS[direction]}
    log_probs[:, list(forbidden)] = -torch.inf
    return log_probs


@pytest.mark.parametrize("prompt", ["", "The officials said", "unheardof the"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_at_temperature_0_every_word_is_the_most_probable(
    trained: LanguageModel, rigged: torch.Tensor, direction: Direction, prompt: str
) -> None:
    model, tokenizer = trained, trained.tokenizer
    rigged[ENDS[direction]] = -1e6
    (words,) = generate(model, prompt, direction, temperature=0, count=1, max_words=12)
    given = prompt.split()
    assert len(words) == len(given) + 12
    ids = ids_of(tokenizer, words)
    best = log_probs_of(model, ids, direction).argmax(1).tolist()
    if direction == "forward":
        assert words[: len(given)] == given
        assert ids[1 + len(given) : -1] == best[len(given) : -1]
    else:
        assert words[12:] == given
        assert ids[1:13] == best[1:13]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_draws_depend_on_the_seed_alone(
    trained: LanguageModel, rigged: torch.Tensor, direction: Direction
) -> None:
    rigged[ENDS[direction]] = -1e6
    torch.manual_seed(1)
    state = torch.get_rng_state()
    texts = generate(trained, "the", direction, seed=3, count=4)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert generate(trained, "the", direction, seed=3, count=2) == texts[:2]
    assert generate(trained, "the", direction, seed=4, count=4) != texts
    assert len({tuple(text) for text in texts}) == 4


def test_top_k_of_1_equals_temperature_0(trained: LanguageModel) -> None:
    (expected,) = generate(trained, "the", temperature=0, count=1)
    assert generate(trained, "the", temperature=5, top_k=1, count=2) == [expected] * 2
    assert generate(trained, "the", temperature=1e-320, count=2) == [expected] * 2


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("temperature", "top_k"), [(1, None), (2, 5)])
def test_first_words_follow_the_softmax(
    trained: LanguageModel,
    direction: Direction,
    temperature: float,
    top_k: int | None,
) -> None:
    model, tokenizer = trained, trained.tokenizer
    draws = 600
    texts = generate(model, "", direction, temperature, top_k, count=draws, max_words=1)
    log_probs = log_probs_of(model, [BOS, EOS], direction)[0] / temperature
    if top_k:
        log_probs[log_probs < log_probs.sort().values[-top_k]] = -torch.inf
    expected = log_probs.softmax(0)
    frequency = torch.zeros(len(tokenizer))
    for ids, number in Counter(tuple(ids_of(tokenizer, text)) for text in texts).items():
        frequency[ids[1] if len(ids) == 3 else ENDS[direction]] = number / draws
    assert (frequency[expected == 0] == 0).all()
    # The frequencies of the most probable words lie within four standard errors.
    best = expected.topk(8).indices
    error = (expected[best] * (1 - expected[best]) / draws).sqrt()
    assert ((frequency[best] - expected[best]).abs() <= 4 * error + 1e-6).all()


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_marks_and_unknown_words_are_never_generated(
    trained: LanguageModel, direction: Direction, rigged: torch.Tensor
) -> None:
    model, tokenizer = trained, trained.tokenizer
    rigged[[PAD, UNK, BOS, EOS]] = 50
    rigged[ENDS[direction]] = -1e6
    for temperature in (0, 1, 100):
        (text,) = generate(model, "the", direction, temperature, count=1, max_words=40)
        assert len(text) == 41
        assert not set(ids_of(tokenizer, text)[1:-1]) & {PAD, UNK, BOS, EOS}


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_mark_of_the_direction_ends_a_text(
    trained: LanguageModel, direction: Direction, rigged: torch.Tensor
) -> None:
    rigged[ENDS[direction]] = 100
    assert generate(trained, "The bank", direction, count=2) == [["The", "bank"]] * 2


@pytest.mark.parametrize("mode", [True, False])
def test_dropout_is_off_and_the_mode_does_not_change(trained: LanguageModel, mode: bool) -> None:
    model = trained
    expected = generate(model, "the")
    model.train(mode).bilm.embedding.eval()
    assert generate(model, "the") == expected
    assert [model.training, model.bilm.training, model.bilm.embedding.training] == [
        mode, mode, False,
    ]  # fmt: skip
    model.eval()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("direction", "sideways"),
        ("temperature", -1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_k", 0),
        ("count", 0),
        ("max_words", 0),
        ("seed", -1),
        ("seed", 2**64),
    ],
)
def test_values_that_cannot_work_are_refused(
    trained: LanguageModel, name: str, value: object
) -> None:
    with pytest.raises(ConfigError, match=f"{name} is "):
        generate(trained, "the", **{name: value})  # type: ignore[arg-type]


def test_a_diverged_model_is_refused(trained: LanguageModel, rigged: torch.Tensor) -> None:
    rigged[7] = torch.nan
    with pytest.raises(ArtifactError, match="diverged"):
        generate(trained, "the")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("He didn 't pay $ 5 , did he ?", "He didn't pay $5, did he?"),
        ("Oil ( and gas ) rose 3 % .", "Oil (and gas) rose 3%."),
        ('" Yes , " the bank \'s head said : " no . "', '"Yes," the bank\'s head said: "no."'),
        ("say ' things ' - at last ...", "say ' things ' - at last..."),
        ("", ""),
    ],
)
def test_join_words(words: str, line: str) -> None:
    assert join_words(words.split()) == line
