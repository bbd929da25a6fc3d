from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from elmo.data.batches import Batch
from elmo.data.text import WordTokenizer
from elmo.errors import ConfigError
from elmo.models.classifier import TextClassifier, build_classifier, check_parts, load_classifier
from elmo.models.encoders import ElmoEncoder, SideBySideEncoder
from elmo.modules.bilm import BiLM
from elmo.modules.heads import BiLSTMHead, Head, PoolHead
from elmo.modules.mixers import LayerMix, LearnedMix, Mixer, ScalarMix
from elmo.training.classification_task import ClassificationTask

CLASSES = ["World", "Sports", "Business", "Sci/Tech"]
TEXTS = ["the bank raised its rates", "", "the river left its bank !", "zzz"]
TOKENIZER = WordTokenizer.train(TEXTS, min_count=1, max_size=None)

MIXERS: dict[str, Callable[..., Mixer]] = {
    "trainable": ScalarMix,
    "frozen": partial(ScalarMix, trainable=False, learn_gamma=False, seed=0),
    "learned": LearnedMix,
}
HEADS: dict[str, Callable[..., Head]] = {"pool": PoolHead, "bilstm": BiLSTMHead}


def classifier(
    mixer: str = "trainable", head: str = "pool", finetune: bool = False
) -> TextClassifier:
    torch.manual_seed(0)
    encoder = ElmoEncoder(TOKENIZER, BiLM(len(TOKENIZER), 8, 8), finetune)
    return TextClassifier(encoder, MIXERS[mixer](3, 16), HEADS[head](16, len(CLASSES)), CLASSES)


@pytest.fixture
def batch() -> Batch:
    tokens = torch.tensor([[2, 4, 5, 6, 3], [2, 7, 8, 3, 0]])
    return Batch(tokens, torch.tensor([5, 4]), torch.tensor([1, 3]), torch.arange(2))


def steps(model: TextClassifier, batch: Batch, count: int = 5) -> None:
    """Take training steps as Lightning does."""
    task = ClassificationTask(model, optimizer=partial(torch.optim.AdamW, lr=0.01), warmup=0.0)
    task.log = lambda *_, **__: None  # type: ignore[method-assign]
    task.train()
    optimizer = task.optimizer([p for p in task.parameters() if p.requires_grad])
    for index in range(count):
        optimizer.zero_grad()
        task.training_step(batch, index).backward()
        optimizer.step()


def state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of the state dict."""
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Tell whether two state dicts have the same names and values."""
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_every_layer_of_a_deep_bilm_can_be_chosen() -> None:
    encoder = ElmoEncoder(TOKENIZER, BiLM(len(TOKENIZER), 8, 8, num_layers=4))
    check_parts(partial(LayerMix, layer=4), PoolHead, CLASSES)
    build_classifier(encoder, partial(LayerMix, layer=4), PoolHead, CLASSES)
    with pytest.raises(ConfigError, match=r"mixer\.layer is 5"):
        build_classifier(encoder, partial(LayerMix, layer=5), PoolHead, CLASSES)
    with pytest.raises(ConfigError, match=r"mixer\.layer is 65"):
        check_parts(partial(LayerMix, layer=65), PoolHead, CLASSES)


@pytest.mark.parametrize("mixer", MIXERS)
def test_training_changes_mixer_and_head_only(mixer: str, batch: Batch) -> None:
    model = classifier(mixer)
    encoder_before, mixer_before = state(model.encoder), state(model.mixer)
    head_before = state(model.head)
    steps(model, batch)
    assert same(encoder_before, state(model.encoder))
    assert same(mixer_before, state(model.mixer)) == (mixer == "frozen")
    assert not same(head_before, state(model.head))


def test_dropout_of_the_bilm_is_off_in_training(batch: Batch) -> None:
    model = classifier().train()
    assert model.head.training
    assert torch.equal(model.encoder(batch), model.encoder(batch))


def test_overfits_one_batch(batch: Batch) -> None:
    model = classifier("learned", "bilstm")
    steps(model, batch, count=60)
    assert model.eval()(batch).argmax(1).tolist() == batch.label.tolist()


def test_predictions(batch: Batch) -> None:
    model = classifier().train()  # predict itself has to switch dropout off
    predictions = model.predict(TEXTS)
    assert predictions == model.predict(TEXTS)
    for prediction in predictions:
        assert list(prediction.probabilities) == CLASSES
        assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert prediction.label == max(CLASSES, key=prediction.probabilities.__getitem__)
    assert model.predict([]) == []


@pytest.mark.parametrize("budget", [1, 12])
def test_predictions_do_not_depend_on_the_batch(budget: int) -> None:
    model = classifier(head="bilstm")
    together = model.predict(TEXTS, token_budget=budget)
    for text, prediction in zip(TEXTS, together, strict=True):
        (alone,) = model.predict([text])
        assert alone.probabilities == pytest.approx(prediction.probabilities, abs=1e-5)


def test_layers_from_a_store_give_the_same_logits(batch: Batch) -> None:
    model = classifier("learned", "bilstm").eval()
    stored = model.encoder(batch)[1:].half() * batch.mask.unsqueeze(-1)
    assert torch.equal(model(batch), model(batch._replace(layers=stored)))


def test_label_smoothing_changes_the_training_loss(batch: Batch) -> None:
    model = classifier().eval()
    logits = model(batch)
    smooth = torch.full((2, 4), 0.2 / 4)
    smooth[torch.arange(2), batch.label] += 0.8
    task = ClassificationTask(
        model, label_smoothing=0.2, optimizer=partial(torch.optim.AdamW, lr=0.01), warmup=0.0
    )
    task.log = lambda *_, **__: None  # type: ignore[method-assign]
    expected = -(smooth * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(task.training_step(batch, 0), expected)
    impossible: tuple[dict[str, Any], ...] = (
        {"label_smoothing": 1.0},
        {"finetune_lr": 0.0},
        {"layer_decay": 1.5},
        {"unfreeze_epochs": -1.0},
        {"unfreeze_epochs": 0.5},  # of an encoder that stays frozen
    )
    for wrong in impossible:
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            ClassificationTask(model, optimizer=torch.optim.AdamW, warmup=0.0, **wrong)


def test_the_penalty_on_the_lambdas_is_part_of_the_training_loss(batch: Batch) -> None:
    model = classifier().eval()
    plain = functional.cross_entropy(model(batch), batch.label)
    assert isinstance(model.mixer, ScalarMix)
    model.mixer.l2 = 0.5
    with torch.no_grad():
        model.mixer.weights.fill_(1.0)  # the lambdas stay equal
    task = ClassificationTask(model, optimizer=partial(torch.optim.AdamW, lr=0.01), warmup=0.0)
    task.log = lambda *_, **__: None  # type: ignore[method-assign]
    torch.testing.assert_close(task.training_step(batch, 0), plain + 1.5)


def test_fine_tuning_changes_every_part_of_the_bilm(batch: Batch) -> None:
    model = classifier(finetune=True)
    before = state(model.encoder)
    steps(model, batch)
    after = state(model.encoder)
    assert all(not torch.equal(before[name], after[name]) for name in before if "bias" not in name)
    model.train()
    assert not torch.equal(model.encoder(batch), model.encoder(batch))  # dropout is on
    assert torch.equal(model.eval()(batch), model(batch))


def test_lower_layers_learn_more_slowly(batch: Batch) -> None:
    model = classifier(finetune=True)
    task = ClassificationTask(
        model,
        finetune_lr=0.5,
        layer_decay=0.1,
        optimizer=partial(torch.optim.AdamW, lr=0.01),
        warmup=0.0,
    )
    groups = task.parameter_groups()
    assert [group.share for group in groups] == pytest.approx([1, 0.5, 0.05, 0.005])
    ids = [{id(parameter) for parameter in group.parameters} for group in groups]
    assert sum(map(len, ids)) == len(set().union(*ids)) == len(list(model.parameters()))
    bilm = model.encoder.get_submodule("bilm")
    assert ids[1] >= {id(p) for p in bilm.get_submodule("forward_lstm.layers.1").parameters()}
    assert ids[3] == {id(p) for p in bilm.get_submodule("embedding").parameters()}
    (frozen,) = ClassificationTask(
        classifier(), optimizer=partial(torch.optim.AdamW, lr=0.01), warmup=0.0
    ).parameter_groups()
    assert frozen.share == 1


def test_a_fine_tuned_classifier_is_loaded_unchanged(batch: Batch, tmp_path: Path) -> None:
    model = classifier(finetune=True)
    steps(model, batch)
    model.save(tmp_path / "classifier.pt", {})
    loaded = load_classifier(tmp_path / "classifier.pt")
    assert torch.equal(loaded(batch), model.eval()(batch))


def test_a_classifier_on_two_bilms_is_loaded_as_it_was_saved(batch: Batch, tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoders = [ElmoEncoder(TOKENIZER, BiLM(len(TOKENIZER), 8, width)) for width in (8, 4)]
    encoder = SideBySideEncoder(encoders)
    head = PoolHead(encoder.dim, len(CLASSES))
    model = TextClassifier(encoder, ScalarMix(3, encoder.dim), head, CLASSES).eval()
    model.save(tmp_path / "classifier.pt", {})
    loaded = load_classifier(tmp_path / "classifier.pt")
    assert torch.equal(loaded.logits(batch), model.logits(batch))
