from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
import torch

from elmo.data.batches import Batch
from elmo.data.text import WordTokenizer
from elmo.inference.explanation import explain, explain_side_by_side
from elmo.models.classifier import TextClassifier
from elmo.models.encoders import ElmoEncoder, Encoder
from elmo.modules.bilm import BiLM
from elmo.modules.heads import PoolHead
from elmo.modules.mixers import LearnedMix, Mixer, ScalarMix

CLASSES = ["World", "Sports", "Business"]
TOKENIZER = WordTokenizer.train(["the bank raised its rates .", "a river"], 1, None)
TEXT = "The Bank raised zzz rates, the BANK raised."
WORDS = ["The", "Bank", "raised", "zzz", "rates", ",", "the", "BANK", "raised", "."]


def classifier(mixer: Callable[..., Mixer] = LearnedMix) -> TextClassifier:
    """Untrained, drawn wide enough for every word to matter."""
    torch.manual_seed(0)
    encoder = ElmoEncoder(TOKENIZER, BiLM(len(TOKENIZER), 8, 8))
    model = TextClassifier(encoder, mixer(3, 16), PoolHead(16, len(CLASSES), 8), CLASSES)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def test_effects_are_those_of_classifying_without_the_word() -> None:
    model = classifier().train()  # explain has to switch dropout off by itself
    prediction, _, words = explain(model, TEXT)
    assert prediction == model.predict([TEXT])[0]
    assert [word for word, _ in words] == WORDS
    for position, (_, effect) in enumerate(words):
        hidden = " ".join([*WORDS[:position], "unheardof", *WORDS[position + 1 :]])
        (other,) = model.predict([hidden])
        label = prediction.label
        by_hand = prediction.probabilities[label] - other.probabilities[label]
        assert effect == pytest.approx(by_hand, abs=1e-5)
    effects = dict(words)
    assert effects["zzz"] == effects[","] == 0
    assert max(effects.values()) > 0.01
    assert min(effects.values()) < -0.01


@pytest.mark.parametrize("budget", [1, 25])
def test_the_token_budget_bounds_the_batches(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = classifier()
    expected = explain(model, TEXT)
    sizes = []
    layers_of = model.layers

    def measured(batch: Batch) -> torch.Tensor:
        sizes.append(batch.tokens.numel())
        return layers_of(batch)

    monkeypatch.setattr(model, "layers", measured)
    found = explain(model, TEXT, token_budget=budget)
    assert max(sizes) <= max(budget, len(WORDS) + 2)
    assert sum(sizes) == (1 + len(WORDS) - 2) * (len(WORDS) + 2)  # the text, each known word hidden
    for (word, effect), (same, by_one) in zip(expected.words, found.words, strict=True):
        assert word == same
        assert effect == pytest.approx(by_one, abs=1e-5)


@torch.no_grad()  # with gradients the LSTMs run another kernel, whose last bits differ
def test_lambdas_of_a_learned_mixer_are_the_mean_gates_of_the_words() -> None:
    model = classifier().eval()
    mixer = model.mixer
    assert isinstance(mixer, LearnedMix)
    found = {}
    for text in ("the bank raised its rates", "a river"):
        ids = torch.from_numpy(TOKENIZER.encode([text])[0].ids).long().unsqueeze(0)
        assert isinstance(model.encoder, ElmoEncoder)
        layers = model.encoder.bilm(ids, torch.tensor([ids.shape[1]]))  # (L, 1, T, D)
        layers[1:] = layers[1:].half().float()  # as the classifier gets them
        means, deviations = (
            layers.mean(-1, keepdim=True),
            layers.var(-1, correction=0, keepdim=True),
        )
        normal = (layers - means) / (deviations + 1e-5).sqrt()
        gates = [
            mixer.gate(mixer.hidden(normal[:, 0, t].flatten()).tanh()).softmax(0)
            for t in range(1, ids.shape[1] - 1)
        ]
        found[text] = torch.stack(gates).mean(0).tolist()
        assert explain(model, text).lambdas == pytest.approx(found[text], abs=1e-5)
        assert sum(found[text]) == pytest.approx(1)
    one, other = found.values()
    assert max(abs(a - b) for a, b in zip(one, other, strict=True)) > 0.01


def test_lambdas_of_a_scalar_mix_are_its_own() -> None:
    model = classifier(partial(ScalarMix, trainable=False, seed=1))
    assert explain(model, TEXT).lambdas == pytest.approx(model.mixer.lambdas().tolist())


def test_a_text_without_words() -> None:
    model = classifier()
    prediction, lambdas, words = explain(model, " \t")
    assert prediction == model.predict([""])[0]
    assert words == []
    assert sum(lambdas) == pytest.approx(1)


def test_classifiers_side_by_side_are_explained_as_alone() -> None:
    """Those on one encoder share its layers, and differ in mixer and head."""
    first, second, apart = classifier(), classifier(ScalarMix), classifier()
    torch.nn.init.normal_(second.mixer.weights, std=3)  # type: ignore[arg-type]
    torch.nn.init.normal_(next(apart.encoder.parameters()))
    second.encoder = first.encoder
    alone = [explain(model, TEXT) for model in (first, second, apart)]
    assert len({str(explanation.words) for explanation in alone}) == 3
    passes: Counter[Encoder] = Counter()
    for encoder in (first.encoder, apart.encoder):
        encoder.register_forward_hook(lambda module, *_: passes.update([module]))
    found = explain_side_by_side([first, second, apart], TEXT)
    assert [details.explanation for details in found] == alone
    assert passes[first.encoder] == passes[apart.encoder] > 0


def test_gates_are_weights_of_the_layers_for_each_word() -> None:
    ((explanation, gates),) = explain_side_by_side([classifier()], TEXT)
    assert gates.shape == (3, len(WORDS))
    assert gates.sum(0).tolist() == pytest.approx([1] * len(WORDS))
    assert gates.mean(1).tolist() == pytest.approx(explanation.lambdas)
    assert gates.std(1).min() > 0.01  # a gate: other weights for other words
    ((_, same),) = explain_side_by_side([classifier(ScalarMix)], TEXT)
    assert same.std(1).max() == 0
