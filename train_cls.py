"""Classify AG News on the frozen biLM: `python train_cls.py` writes `classifier.pt`."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from elmo.runs.folder import Run
from elmo.runs.job import make, run_job
from elmo.runs.resume import expand_resume


def train(cfg: DictConfig, run: Run) -> float:
    """Train in `run.run_dir`; return the validation accuracy of the best epoch."""
    import lightning

    from elmo.evaluation.outputs import ClassificationOutputs
    from elmo.models.classifier import build_classifier, check_parts
    from elmo.training.classification_task import ClassificationTask, task_of
    from elmo.training.finish import finish
    from elmo.training.trainer import make_trainer

    corpus, optimizer = make(cfg.data), make(cfg.optimizer)
    make(cfg.datamodule)(corpus=corpus)  # wrong settings show before the encoder is built
    mixer, head = make(cfg.mixer), make(cfg.head)
    check_parts(mixer, head, corpus.class_names)
    settings = make(cfg.trainer), make(cfg.callbacks), optimizer, cfg.warmup
    trainer = make_trainer(run, *settings, ClassificationTask.VALIDATED)

    device = trainer.strategy.root_device
    with run.prepares():
        encoder = make(cfg.encoder)(corpus=corpus)
        data = make(cfg.datamodule)(corpus=corpus, tokenizer=encoder.tokenizer)
        if cfg.get("augmentation"):
            data.copies = make(cfg.augmentation)(data=data, encoder=encoder, device=device)
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    model = build_classifier(encoder, mixer, head, corpus.class_names)
    task = task_of(cfg, model, data, optimizer)
    task.seconds["frozen_pass"] = make(cfg.store).attach(encoder, data, device, cfg.evaluate_test)
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)  # the same dropout for all
    trainer.fit(task, data, ckpt_path=run.checkpoint, weights_only=True)
    if not run.leads:
        return float("nan")

    evaluation = task.evaluate(trainer, data, test=cfg.evaluate_test)
    model.save(run.artifact, {"data": data.facts, "metrics": evaluation.metrics})
    outputs = ClassificationOutputs(corpus, data)
    finish(run, evaluation, outputs, trainer.logger, {**task.facts(), "data": data.facts})
    return evaluation.metrics["val/accuracy"]


@hydra.main(version_base="1.3", config_path="conf", config_name="train_cls")
def main(cfg: DictConfig) -> float:
    """Run the job with the settings of conf/train_cls.yaml and the command line."""
    return run_job(train, cfg, "classifier.pt")


if __name__ == "__main__":
    expand_resume()
    main()
