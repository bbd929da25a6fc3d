"""TF-IDF and a linear classifier on the same rows: `python train_tfidf.py`."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from elmo.runs.folder import Run
from elmo.runs.job import make, run_job
from elmo.runs.resume import expand_resume


def train(cfg: DictConfig, run: Run) -> float:
    """Train in `run.run_dir`; return the validation accuracy."""
    from elmo.evaluation.outputs import ClassificationOutputs
    from elmo.training.finish import finish
    from elmo.training.tensorboard import tensorboard_logger

    corpus = make(cfg.data)
    model = make(cfg.features)(linear=make(cfg.classifier))
    model.fit(corpus)

    evaluation = model.evaluate(corpus, test=cfg.evaluate_test)
    outputs, logger = ClassificationOutputs(corpus), tensorboard_logger(run)
    finish(run, evaluation, outputs, logger, model.facts(corpus))
    return evaluation.metrics["val/accuracy"]


@hydra.main(version_base="1.3", config_path="conf", config_name="train_tfidf")
def main(cfg: DictConfig) -> float:
    """Run the job with the settings of conf/train_tfidf.yaml and the command line."""
    return run_job(train, cfg, "metrics.json")


if __name__ == "__main__":
    expand_resume()
    main()
