"""Fine-tuning: gradual unfreezing, and the loss of the language model as an auxiliary."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader

from conftest import TINY_CLS, Script, scalars
from elmo.data.batches import Batch, unchanged
from elmo.data.text import WordTokenizer
from elmo.errors import ConfigError
from elmo.models.classifier import TextClassifier, load_classifier
from elmo.models.encoders import ElmoEncoder, Encoder, SideBySideEncoder
from elmo.models.language_model import LanguageModel, load_language_model
from elmo.modules.bilm import BiLM
from elmo.modules.heads import PoolHead
from elmo.modules.mixers import ScalarMix
from elmo.modules.softmax import AdaptiveSoftmax, FullSoftmax, Softmax
from elmo.runs.latest import latest_run
from elmo.runs.record import read_record
from elmo.training.classification_task import ClassificationTask
from elmo.training.language_model_loss import LanguageModelLoss

TOKENIZER = WordTokenizer.train(["the bank raised its rates"], min_count=1, max_size=None)
BATCHES = [
    Batch(
        torch.tensor([[2, 4, 5, 6, 3], [2, 7, 8, 3, 0], [2, 3, 0, 0, 0]]).roll(number, 0),
        torch.tensor([5, 4, 2]).roll(number),
        torch.tensor([1, 3, 0]),
        torch.arange(3),
    )
    for number in range(4)
]


def language_model(
    folder: Path, seed: int = 0, width: int = 8, kind: type[Softmax] = FullSoftmax
) -> Path:
    """Write the `bilstm.pt` of an untrained language model."""
    torch.manual_seed(seed)
    bilm = BiLM(len(TOKENIZER), 8, width, variational=True)
    folder.mkdir()
    LanguageModel(bilm, kind(width, len(TOKENIZER)), TOKENIZER).save(folder / "bilstm.pt", {})
    return folder / "bilstm.pt"


def encoder_of(path: Path, finetune: bool = True) -> ElmoEncoder:
    encoder = ElmoEncoder(TOKENIZER, load_language_model(path).bilm, finetune)
    encoder.bilm_path = path
    return encoder


def task_on(encoder: Encoder, **settings: Any) -> ClassificationTask:
    torch.manual_seed(0)
    mixer, head = ScalarMix(3, encoder.dim), PoolHead(encoder.dim, 4)
    model = TextClassifier(encoder, mixer, head, list("wxyz"))
    optimizer = partial(torch.optim.AdamW, lr=0.01, weight_decay=0.1)
    return ClassificationTask(model, optimizer=optimizer, warmup=0.0, **settings)


class Watch(Callback):
    """Notes the weights of the encoder's layers before the first and after each step."""

    def __init__(self) -> None:
        self.seen: list[list[list[torch.Tensor]]] = []

    def note(self, task: Any) -> None:
        groups = task.model.encoder.layer_groups()
        self.seen.append([[p.detach().clone() for p in level.parameters()] for level in groups])

    def on_train_start(self, trainer: Any, task: Any) -> None:
        self.note(task)

    def on_train_batch_end(self, trainer: Any, task: Any, *_: Any) -> None:
        self.note(task)


def changes(watch: Watch) -> list[list[bool]]:
    """Return for each layer, from the top down, in which steps any of its weights changed."""
    return [
        [
            any(not torch.equal(one, other) for one, other in zip(*pair, strict=True))
            for pair in itertools.pairwise(levels)
        ]
        for levels in zip(*watch.seen, strict=True)
    ]


@pytest.mark.parametrize(
    ("unfreeze_epochs", "accumulate", "starts"),
    [(None, 1, [0, 0, 0]), (0.5, 1, [2, 4, 6]), (0.25, 1, [1, 2, 3]), (0.5, 2, [1, 2, 3])],
)
def test_layers_start_to_learn_from_the_top_down(
    unfreeze_epochs: float | None, accumulate: int, starts: list[int], tmp_path: Path
) -> None:
    task = task_on(encoder_of(language_model(tmp_path / "lm")), unfreeze_epochs=unfreeze_epochs)
    watch = Watch()
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        accumulate_grad_batches=accumulate,
        callbacks=[watch],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, DataLoader(BATCHES, batch_size=None, collate_fn=unchanged))  # type: ignore[arg-type]
    for changed, start in zip(changes(watch), starts, strict=True):
        steps = changed[accumulate - 1 :: accumulate]
        assert steps == [step >= start for step in range(8 // accumulate)]


@pytest.mark.parametrize("kind", [FullSoftmax, AdaptiveSoftmax])
def test_the_loss_is_that_of_the_language_model(kind: type[Softmax], tmp_path: Path) -> None:
    paths = [
        language_model(tmp_path / "one", 0, 8, kind),
        language_model(tmp_path / "other", 1, 6, kind),
    ]
    encoder = SideBySideEncoder([encoder_of(path) for path in paths])
    loss = LanguageModelLoss(encoder, 0.5).eval()
    (batch, *_) = BATCHES
    found = loss(encoder.eval()(batch), batch)
    inputs = batch.tokens, batch.lengths
    expected = [load_language_model(path)(*inputs).flatten() for path in paths]
    torch.testing.assert_close(found, torch.cat(expected))
    assert loss.mean.compute().item() == pytest.approx(torch.cat(expected).mean().item())


def test_it_is_added_with_its_weight_and_the_bilm_runs_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = encoder_of(language_model(tmp_path / "lm"))
    loss = LanguageModelLoss(encoder, 0.25)
    (batch, *_) = BATCHES
    totals = []
    for settings in ({}, {"language_model": loss}):
        task = task_on(encoder, **settings).eval()
        monkeypatch.setattr(task, "log", lambda *_, **__: None)
        totals.append(task.training_step(batch, 0))
    runs: list[None] = []
    encoder.bilm.forward_lstm.register_forward_hook(lambda *_: runs.append(None))
    nll = loss(encoder(batch), batch).mean()
    torch.testing.assert_close(totals[1], totals[0] + 0.25 * nll)
    runs.clear()
    task.training_step(batch, 0)
    assert len(runs) == 1


def test_its_softmax_learns_with_the_top_layer(tmp_path: Path) -> None:
    encoder = encoder_of(language_model(tmp_path / "lm"))
    loss = LanguageModelLoss(encoder, 0.5)
    settings = {"finetune_lr": 3.0, "unfreeze_epochs": 0.5, "language_model": loss}
    groups = task_on(encoder, **settings).parameter_groups()
    softmax = {id(p) for p in loss.parameters()}
    (group,) = [g for g in groups if softmax & {id(p) for p in g.parameters}]
    assert softmax < {id(p) for p in group.parameters}
    assert group is groups[1]
    assert (group.share, group.start) == (3.0, 0.5)


def test_an_encoder_without_a_language_model_is_refused(tmp_path: Path) -> None:
    path = language_model(tmp_path / "lm")
    with pytest.raises(ConfigError, match=r"stays frozen; set encoder\.finetune=true"):
        LanguageModelLoss(encoder_of(path, finetune=False), 0.5)
    published = encoder_of(path)
    published.bilm_path = None
    with pytest.raises(ConfigError, match="no softmax, as published models"):
        LanguageModelLoss(published, 0.5)
    with pytest.raises(ConfigError, match=r"language_model_weight is -1"):
        LanguageModelLoss(encoder_of(path), -1)


def test_a_job_logs_it_and_saves_no_softmax(
    script: Script, pretrained: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    settings = [
        *(*TINY_CLS, f"bilm_path={latest_run(pretrained, 'toy')}", f"hydra.run.dir={run}"),
        *("encoder.finetune=true", "finetune_lr=2", "unfreeze_epochs=0.2"),
        "language_model_weight=0.5",
    ]
    script("train_cls", *settings, output_dir=tmp_path)
    curves = scalars(run)
    assert 0 < curves["train/lm_loss"][0] < 10
    assert curves["lr-AdamW/pg2"][0] > curves["lr-AdamW/pg3"][0] == 0
    assert curves["lr-AdamW/pg4"][-1] > 0
    recorded = read_record(run)["settings"]
    assert (recorded["unfreeze_epochs"], recorded["language_model_weight"]) == (0.2, 0.5)
    names = load_classifier(run).state_dict()
    assert not [name for name in names if "softmax" in name]
