from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from elmo.data.characters import character_ids
from elmo.errors import ConfigError
from elmo.modules import characters
from elmo.modules.bilm import BiLM
from elmo.modules.characters import CharacterCNN

FILTERS = [[1, 3], [4, 2], [2, 3]]
# Around the ends of the groups, and where the windows reach the last position.
LENGTHS = [*range(27), 30, 40, *range(42, 51), 70]
WORDS = ["<S>", "</S>", *("abcdefghij"[n % 10] * n for n in LENGTHS), "né", "日本", "na", "nb"]


def cnn_of(dim: int = 5, **changes: Any) -> CharacterCNN:
    torch.manual_seed(0)
    settings = {"char_dim": 3, "filters": FILTERS, "num_highways": 2, **changes}
    cnn = CharacterCNN(dim, **settings).double()
    for name, parameter in cnn.named_parameters():
        if name != "characters.weight":
            torch.nn.init.normal_(parameter, std=0.5)
    return cnn


def ids_of(words: list[str] = WORDS, longest: int = 50) -> Tensor:
    return torch.from_numpy(np.stack([character_ids(word, longest) for word in words])).long()


def directly(cnn: CharacterCNN, ids: Tensor) -> Tensor:
    """The vectors (U, E), with every window of every word at all positions."""
    embedded = cnn.characters.weight[ids]  # (U, C, d)
    maxima = []
    for convolution in cnn.filters:
        kernel, bias = convolution.get_parameter("weight"), convolution.get_parameter("bias")
        windows = embedded.unfold(1, kernel.shape[2], 1)  # (U, positions, d, width)
        maxima.append((torch.einsum("updw,ndw->upn", windows, kernel) + bias).amax(1))
    x = torch.cat(maxima, 1)
    x = x.tanh() if cnn.activation == "tanh" else x.relu()
    for highway in cnn.highways:
        gate = highway.get_submodule("carry")(x).sigmoid()
        x = gate * highway.get_submodule("transform")(x).relu() + (1 - gate) * x
    return cnn.projection(x)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"activation": "tanh"},
        {"num_highways": 0},
        {"dim": 8},  # as many filters: no projection
        {"filters": [[50, 2], [1, 1]]},  # one window, of the whole word
        {"filters": [[1, 4]]},
        {"max_characters": 12},
        {"max_characters": 120},
        {"max_characters": 4},
    ],
)
def test_equals_a_convolution_over_all_positions(changes: dict[str, Any]) -> None:
    cnn = cnn_of(**changes)
    ids = ids_of(longest=cnn.max_characters)
    expected = directly(cnn, ids)
    with torch.no_grad():
        torch.testing.assert_close(cnn.word_vectors(ids), expected, rtol=0, atol=1e-13)
        shuffled = torch.randperm(len(ids))
        torch.testing.assert_close(cnn.word_vectors(ids[shuffled]), expected[shuffled])
    found = cnn.word_vectors(ids)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)
    weights = list(cnn.parameters())
    loss = torch.linspace(-1, 1, found.numel()).view_as(found)
    pairs = zip(
        torch.autograd.grad((found * loss).sum(), weights),
        torch.autograd.grad((expected * loss).sum(), weights),
        strict=True,
    )
    for one, other in pairs:
        torch.testing.assert_close(one[1:], other[1:], rtol=0, atol=1e-12)  # but for padding's row


def test_gradients_equal_finite_differences() -> None:
    cnn = cnn_of(filters=[[1, 2], [3, 2]], num_highways=1, char_dim=2, max_characters=8)
    ids = ids_of(["a", "ab", "bcd", "<S>", "aaaaaaaaa"], 8)
    names = [name for name, _ in cnn.named_parameters() if name != "characters.weight"]

    def vectors(*values: Tensor) -> Tensor:
        given = dict(zip(names, values, strict=True))
        return torch.func.functional_call(cnn, given, (ids, (ids, torch.arange(5)[None])))

    parameters = [cnn.get_parameter(name) for name in names]
    assert torch.autograd.gradcheck(vectors, parameters, atol=1e-7)


def test_each_spelling_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it occurs, and in groups of few words."""
    cnn = cnn_of()
    rows = 0
    whole = cnn._maxima

    def counted(ids: Tensor) -> Tensor:
        nonlocal rows
        rows += len(ids)
        assert len(ids) <= characters.GROUP_WORDS
        return whole(ids)

    monkeypatch.setattr(cnn, "_maxima", counted)
    ids = ids_of()
    places = torch.arange(len(WORDS)).repeat(7, 3)  # each word 21 times
    expected = directly(cnn, ids)
    torch.testing.assert_close(cnn(places, (ids, places)), expected[places])
    assert rows == len(WORDS)
    monkeypatch.setattr(characters, "GROUP_WORDS", 4)
    torch.testing.assert_close(cnn(places, (ids, places)), expected[places])


def test_padding_has_no_vector() -> None:
    """And padding inside a word has one, which is learned."""
    cnn = cnn_of()
    ids = torch.cat([torch.zeros(1, 50, dtype=torch.long), ids_of(["a", ""])])
    places = torch.tensor([[1, 2, 0], [1, 0, 0]])
    vectors = cnn(places, (ids, places))
    assert not vectors[places == 0].any()
    assert vectors[places != 0].any(-1).all()
    vectors.sum().backward()
    gradient = cnn.characters.weight.grad
    assert gradient is not None
    assert not gradient[0].any()
    assert not cnn.characters.weight[0].any()
    with torch.no_grad():
        cnn.characters.weight[characters.IN_WORD_PADDING] += 1
        assert not torch.allclose(cnn(places, (ids, places))[0, 0], vectors[0, 0])


def test_only_padding() -> None:
    zeros = torch.zeros(1, 50, dtype=torch.long)
    assert not cnn_of()(zeros[:, :3], (zeros, zeros[:, :3])).any()


def test_word_dropout_zeros_a_word_everywhere_or_nowhere() -> None:
    cnn = cnn_of(word_dropout=0.4)
    places = torch.arange(len(WORDS)).repeat(2, 3)
    zeros = (cnn(places, (ids_of(), places)) == 0).all(-1)
    assert 0.1 < zeros.float().mean() < 0.8
    for word in range(len(WORDS)):
        assert len(set(zeros[places == word].tolist())) == 1
    assert not (cnn.eval()(places, (ids_of(), places)) == 0).all(-1).any()


def test_word_ids_alone_are_refused() -> None:
    bilm = BiLM(40, 5, 5, characters={"char_dim": 2, "filters": [[1, 2]]})
    with pytest.raises(ConfigError, match="this biLM reads characters; expected the spellings"):
        bilm(torch.tensor([[2, 5, 3]]), torch.tensor([3]))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"char_dim": 0}, "embedding.char_dim is 0"),
        ({"num_highways": -1}, "embedding.num_highways is -1"),
        ({"max_characters": 2}, "embedding.max_characters is 2"),
        ({"activation": "gelu"}, "embedding.activation is 'gelu'; expected relu or tanh"),
        ({"activation": ["relu"]}, r"embedding.activation is \['relu'\]"),
        ({"filters": []}, r"embedding.filters is \[\]; expected pairs"),
        ({"filters": [[1]]}, r"embedding.filters is \[\[1\]\]"),
        ({"filters": [[51, 2]]}, "with widths of 1 to 50 characters"),
        ({"filters": [[0, 2]]}, "embedding.filters is"),
        ({"filters": [[1, 0]]}, "embedding.filters is"),
        ({"filters": [["1", 2]]}, "embedding.filters is"),
        ({"filters": [[1, 2.5]]}, "embedding.filters is"),
        ({"filters": [1, 2]}, "embedding.filters is"),
        ({"filters": 3}, "embedding.filters is 3"),
    ],
)
def test_arguments_that_cannot_be(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        CharacterCNN(5, **wrong)
    assert "\n" not in str(caught.value)
