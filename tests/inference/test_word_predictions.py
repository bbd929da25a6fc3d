from __future__ import annotations

import pytest
import torch

from elmo.data.text import WordTokenizer
from elmo.inference.word_predictions import predict_words
from elmo.models.language_model import LanguageModel
from elmo.modules.bilm import BiLM
from elmo.modules.softmax import AdaptiveSoftmax

TEXT = "The river left its zzz bank"
IDS_OF = ["<s>", "the", "river", "left", "its", "<unk>", "bank", "</s>"]


def language_model() -> LanguageModel:
    torch.manual_seed(3)
    texts = ["the bank of a river left its bed and the officials said that rates would go up ."]
    tokenizer = WordTokenizer.train(texts, 1, None)
    bilm = BiLM(len(tokenizer), 6, 8, dropout=0.5)
    model = LanguageModel(bilm, AdaptiveSoftmax(8, len(tokenizer)), tokenizer)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model.eval()


def test_surprise_is_minus_log2_of_the_probability_of_the_word_at_the_gap() -> None:
    model = language_model()
    found = predict_words(model, TEXT, count=10**6)
    assert found.words == TEXT.split()
    assert found.unknown == [False] * 4 + [True, False]
    assert len(found.gaps) == len(found.forward) == len(found.backward) == 7
    for gap, (forward, backward) in enumerate(found.gaps):
        p_next = dict(forward)[IDS_OF[gap + 1]]
        p_previous = dict(backward)[IDS_OF[gap]]
        assert 2 ** -found.forward[gap] == pytest.approx(p_next, rel=1e-4)
        assert 2 ** -found.backward[gap] == pytest.approx(p_previous, rel=1e-4)
        assert [p for _, p in forward] == sorted((p for _, p in forward), reverse=True)
        assert {"<pad>", "<s>"}.isdisjoint(dict(forward))
        assert {"<pad>", "</s>"}.isdisjoint(dict(backward))


def test_perplexity_is_that_of_the_evaluation() -> None:
    model = language_model()
    found = predict_words(model, TEXT)
    ids = torch.from_numpy(model.tokenizer.encode([TEXT])[0].ids).long().unsqueeze(0)
    with torch.no_grad():
        forward, backward = model(ids, torch.tensor([ids.shape[1]])).mean(1).exp().tolist()
    assert found.perplexity("forward") == pytest.approx(forward, rel=1e-5)
    assert found.perplexity("backward") == pytest.approx(backward, rel=1e-5)


def test_a_direction_sees_one_side_of_the_gap() -> None:
    model = language_model()
    found, other = predict_words(model, TEXT), predict_words(model, TEXT.replace("its", "the"))
    for gap in range(7):
        forward, backward = found.gaps[gap], other.gaps[gap]
        assert (forward.forward == backward.forward) == (gap <= 3)
        assert (forward.backward == backward.backward) == (gap >= 4)


def test_an_empty_text_has_one_gap() -> None:
    found = predict_words(language_model(), " \t", count=3)
    assert found.words == []
    (gap,) = found.gaps
    assert len(gap.forward) == len(gap.backward) == 3
