"""An n-gram language model on the same rows: `python train_ngram.py`."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from elmo.runs.folder import Run
from elmo.runs.job import make, run_job
from elmo.runs.resume import expand_resume


def train(cfg: DictConfig, run: Run) -> float:
    """Count in `run.run_dir`; return the validation perplexity."""
    from elmo.evaluation.outputs import LanguageModelOutputs
    from elmo.training.finish import finish
    from elmo.training.tensorboard import tensorboard_logger

    model = make(cfg.ngram)
    data = model.data(make(cfg.data))
    model.fit(data)

    evaluation = model.evaluate(data, test=cfg.evaluate_test)
    outputs, logger = LanguageModelOutputs(data.tokenizer), tensorboard_logger(run)
    finish(run, evaluation, outputs, logger, {**model.facts(), "data": data.facts})
    return evaluation.metrics["val/perplexity"]


@hydra.main(version_base="1.3", config_path="conf", config_name="train_ngram")
def main(cfg: DictConfig) -> float:
    """Run the job with the settings of conf/train_ngram.yaml and the command line."""
    return run_job(train, cfg, "metrics.json")


if __name__ == "__main__":
    expand_resume()
    main()
