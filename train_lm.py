"""Pretrain the biLM: `python train_lm.py` writes `bilstm.pt` into its run folder."""

from __future__ import annotations

import math

import hydra
from omegaconf import DictConfig

from elmo.runs.folder import Run
from elmo.runs.job import make, run_job
from elmo.runs.resume import expand_resume


def train(cfg: DictConfig, run: Run) -> float:
    """Pretrain in `run.run_dir`; return the validation perplexity of the best epoch."""
    import lightning

    from elmo.evaluation.outputs import LanguageModelOutputs
    from elmo.models.language_model import LanguageModel, build_modules
    from elmo.training.finish import finish
    from elmo.training.language_model_task import LanguageModelTask
    from elmo.training.projector import write_projector
    from elmo.training.trainer import make_trainer

    corpus, start = make(cfg.data), make(cfg.embedding)
    data = make(cfg.datamodule)(corpus=corpus, max_characters=start.max_characters)
    modules = build_modules(make(cfg.bilm), make(cfg.softmax), start)
    optimizer = make(cfg.optimizer)
    settings = make(cfg.trainer), make(cfg.callbacks), optimizer, cfg.warmup
    trainer = make_trainer(run, *settings, LanguageModelTask.VALIDATED)

    lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    with run.prepares():
        data.prepare_data()
        model = LanguageModel(*modules(len(data.tokenizer)), data.tokenizer)
        embedding = start.apply(model.bilm.embedding, corpus, data.tokenizer)
    task = LanguageModelTask(model, start.lr_share, optimizer=optimizer, warmup=cfg.warmup)
    trainer.fit(task, data, ckpt_path=run.checkpoint, weights_only=True)
    if not run.leads:
        return math.nan

    evaluation = task.evaluate(trainer, data, test=cfg.evaluate_test)
    model.save(run.artifact, {"data": data.facts, "metrics": evaluation.metrics})
    write_projector(model.encoder(), corpus, trainer.logger)
    outputs = LanguageModelOutputs(data.tokenizer)
    facts = {**task.facts(), "data": data.facts, "embedding": embedding}
    finish(run, evaluation, outputs, trainer.logger, facts)
    return evaluation.metrics["val/perplexity"]


@hydra.main(version_base="1.3", config_path="conf", config_name="train_lm")
def main(cfg: DictConfig) -> float:
    """Run the job with the settings of conf/train_lm.yaml and the command line."""
    return run_job(train, cfg, "bilstm.pt")


if __name__ == "__main__":
    expand_resume()
    main()
