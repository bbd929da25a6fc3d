"""Pretrain the biLM: `python train_lm.py` writes `bilstm.pt` into its run folder."""

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
    from elmo.language_model import LanguageModel
    from elmo.runs import Run

make = partial(instantiate, _convert_="all")  # plain lists, not Hydra's


def language_model(cfg: DictConfig, embedding_dim: int, vocab_size: int) -> LanguageModel:
    from elmo.language_model import LanguageModel

    bilm = make(cfg.bilm)(vocab_size=vocab_size, embedding_dim=embedding_dim)
    return LanguageModel(bilm, make(cfg.softmax)(dim=bilm.hidden_dim, vocab_size=vocab_size))


def train(cfg: DictConfig, run: Run) -> float:
    """One pretraining run in `run.run_dir`; returns the validation perplexity of the best epoch."""
    import lightning
    import torch

    from elmo.encoders import ElmoEncoder
    from elmo.language_model import LanguageModelTask
    from elmo.last_checkpoint import AtomicCheckpoints, tensorboard
    from elmo.latest import move_latest
    from elmo.projector import write_projector
    from elmo.results import Writer, write_language_model_results
    from elmo.task import check_training, parameters

    # Settings that cannot be are refused first: on the meta device a model takes no memory.
    corpus = make(cfg.data)
    data = make(cfg.datamodule)(corpus=corpus)
    start, optimizer = make(cfg.embedding), make(cfg.optimizer)
    with torch.device("meta"):
        language_model(cfg, start.dim, vocab_size=1000)
    callbacks = [callback for callback in make(cfg.callbacks).values() if callback]
    logger = tensorboard(run)
    trainer = make(cfg.trainer)(
        callbacks=callbacks, logger=logger, plugins=[AtomicCheckpoints(run)]
    )
    check_training(optimizer, cfg.warmup, trainer, in_multirun())

    lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    with run.prepares():
        data.prepare_data()
        tokenizer = data.tokenizer
        model = language_model(cfg, start.dim, len(tokenizer))
        embedding = start.apply(model.bilm.embedding, corpus, tokenizer)
    task = LanguageModelTask(model, optimizer=optimizer, warmup=cfg.warmup)
    trainer.fit(task, data, ckpt_path=run.checkpoint, weights_only=True)
    if not run.leads:
        return math.nan
    metrics = task.evaluate(trainer, data, test=cfg.evaluate_test)

    model.save(run.artifact, tokenizer, {"data": data.facts, "metrics": metrics})
    writer = Writer(run.run_dir, logger)
    splits = write_language_model_results(task.results, tokenizer, writer)
    write_projector(ElmoEncoder(tokenizer, model.bilm), corpus, logger)
    settings = settings_of(cfg)
    writer.finish(choices(), settings, metrics, task.best_step)
    run.finish(
        metrics=metrics,
        splits=splits,
        data=data.facts,
        device=str(task.device),
        embedding=embedding,
        seconds_of=task.seconds,
        parameters=parameters(task.parts()),
        choices=choices(),
        settings=settings,
    )
    move_latest(Path(cfg.output_dir), corpus.name, run.run_dir, only_if_better=in_multirun())
    return metrics["val/perplexity"]


@hydra.main(version_base="1.3", config_path="conf", config_name="train_lm")
def main(cfg: DictConfig) -> float:
    return run_job(train, cfg, "bilstm.pt")


if __name__ == "__main__":
    continue_run()
    main()
