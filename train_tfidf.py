"""TF-IDF and a linear classifier on the same rows: `python train_tfidf.py`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig

from elmo.job import choices, run_job, settings_of
from elmo.resume import continue_run

if TYPE_CHECKING:
    from elmo.runs import Run

make = partial(instantiate, _convert_="all")  # plain lists, not Hydra's


def train(cfg: DictConfig, run: Run) -> float:
    """One run in `run.run_dir`; returns the validation accuracy."""
    from elmo.last_checkpoint import tensorboard
    from elmo.results import Writer, write_classification_results

    corpus = make(cfg.data)
    model = make(cfg.features)(linear=make(cfg.classifier))
    model.fit(corpus)
    metrics, results = model.evaluate(corpus, test=cfg.evaluate_test)

    writer = Writer(run.run_dir, tensorboard(run))
    splits = write_classification_results(results, corpus, writer)
    settings = settings_of(cfg)
    writer.finish(choices(), settings, metrics, step=0)
    run.finish(
        metrics=metrics,
        splits=splits,
        data={
            "name": corpus.name,
            "fingerprint": corpus.fingerprint,
            **corpus.facts,
            "labelled_rows": len(model.labelled_rows(corpus)),
        },
        features=len(model.features.vocabulary_),
        device="cpu",
        choices=choices(),
        settings=settings,
    )
    return metrics["val/accuracy"]


@hydra.main(version_base="1.3", config_path="conf", config_name="train_tfidf")
def main(cfg: DictConfig) -> float:
    return run_job(train, cfg, "metrics.json")


if __name__ == "__main__":
    continue_run()
    main()
