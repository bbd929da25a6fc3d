"""Classify AG News on the frozen biLM: `python train_cls.py` writes `classifier.pt`."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig

from elmo.job import choices, in_multirun, run_job, settings_of
from elmo.resume import continue_run

if TYPE_CHECKING:
    from elmo.runs import Run

make = partial(instantiate, _convert_="all")  # plain lists, not Hydra's


def train(cfg: DictConfig, run: Run) -> float:
    """One classifier in `run.run_dir`; returns the validation accuracy of the best epoch."""
    import lightning
    import torch

    from elmo.classifier import ClassificationTask, TextClassifier
    from elmo.last_checkpoint import AtomicCheckpoints, tensorboard
    from elmo.latest import move_latest
    from elmo.results import Writer, write_classification_results
    from elmo.task import check_training, parameters

    # Settings that cannot be are refused first: on the meta device a model takes no memory.
    corpus = make(cfg.data)
    make(cfg.datamodule)(corpus=corpus)
    optimizer = make(cfg.optimizer)
    with torch.device("meta"):
        make(cfg.head)(dim=8, num_classes=len(corpus.class_names))
        make(cfg.mixer)(num_layers=3, dim=8)
    callbacks = [callback for callback in make(cfg.callbacks).values() if callback]
    logger = tensorboard(run)
    trainer = make(cfg.trainer)(
        callbacks=callbacks, logger=logger, plugins=[AtomicCheckpoints(run)]
    )
    check_training(optimizer, cfg.warmup, trainer, in_multirun())

    with run.prepares():
        encoder = make(cfg.encoder)(corpus=corpus)
    data = make(cfg.datamodule)(corpus=corpus, tokenizer=encoder.tokenizer)
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    with torch.device("meta"):
        width = make(cfg.mixer)(num_layers=encoder.num_layers, dim=encoder.dim).output_dim
    # The head first: it starts the same whatever the mixer draws.
    head = make(cfg.head)(dim=width, num_classes=len(corpus.class_names))
    mixer = make(cfg.mixer)(num_layers=encoder.num_layers, dim=encoder.dim)
    model = TextClassifier(encoder, mixer, head, corpus.class_names)
    task = ClassificationTask(
        model,
        cfg.label_smoothing,
        cfg.finetune_lr,
        cfg.layer_decay,
        optimizer=optimizer,
        warmup=cfg.warmup,
    )

    device = trainer.strategy.root_device
    task.seconds["frozen_pass"] = make(cfg.store).attach(encoder, data, device, cfg.evaluate_test)
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)  # the same dropout for all
    trainer.fit(task, data, ckpt_path=run.checkpoint, weights_only=True)
    if not run.leads:
        return math.nan
    metrics = task.evaluate(trainer, data, test=cfg.evaluate_test)

    model.save(run.artifact, {"data": data.facts, "metrics": metrics})
    writer = Writer(run.run_dir, logger)
    splits = write_classification_results(task.results, corpus, writer, data)
    settings = settings_of(cfg)
    writer.finish(choices(), settings, metrics, task.best_step)
    run.finish(
        metrics=metrics,
        lambdas=task.results["validation"].lambdas,
        gamma=model.mixer.scale.item(),
        splits=splits,
        data=data.facts,
        device=str(device),
        seconds_of=task.seconds,
        parameters=parameters({"encoder": encoder, **task.parts()}),
        choices=choices(),
        settings=settings,
    )
    output_dir = Path(cfg.output_dir)
    move_latest(output_dir, corpus.name, run.run_dir, in_multirun(), kind="classifier")
    return metrics["val/accuracy"]


@hydra.main(version_base="1.3", config_path="conf", config_name="train_cls")
def main(cfg: DictConfig) -> float:
    return run_job(train, cfg, "classifier.pt")


if __name__ == "__main__":
    continue_run()
    main()
