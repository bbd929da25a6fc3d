"""Callbacks of a training: progress in the terminal, speed, averaged weights, samples of text."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, TQDMProgressBar, WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from tqdm.contrib.logging import logging_redirect_tqdm

from elmo.data.batches import Batch
from elmo.errors import ArtifactError, check_range
from elmo.models.generation import Direction, generate, join_words
from elmo.models.language_model import LanguageModel
from elmo.utils.terminal import markdown_table

log = logging.getLogger(__name__)

DIRECTIONS: tuple[Direction, ...] = ("forward", "backward")
SHOWN = {  # in the line of an epoch: what each figure is called, and its digits
    "train/loss": ("train loss", ".4f"),
    "val/loss": ("validation loss", ".4f"),
    "val/perplexity": ("perplexity", ".2f"),
    "val/accuracy": ("accuracy", ".4f"),
}


class Throughput(Callback):
    """Logs `tokens_per_second`: real tokens without padding since it logged last."""

    def on_train_start(self, trainer: Any, task: Any) -> None:
        self.on_train_epoch_start(trainer, task)  # it is not called where an epoch is resumed

    def on_train_epoch_start(self, trainer: Any, task: Any) -> None:
        self._mark, self._tokens = time.monotonic(), torch.tensor(0)

    def on_train_batch_end(
        self, trainer: Any, task: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self._tokens = batch.lengths.sum() + self._tokens  # on the device: nothing waits for it
        if trainer.global_step % trainer.log_every_n_steps == 0:
            now = time.monotonic()
            tokens = self._tokens.item() * trainer.world_size  # their batches are of similar size
            task.log("tokens_per_second", tokens / (now - self._mark))
            self._mark, self._tokens = now, torch.tensor(0)


class Clock:
    """Estimates the time that a training takes; made where it starts or is resumed.

    Validation is included as it has taken so far; early stopping is ignored.
    """

    def __init__(self, trainer: Any) -> None:
        self._start, self._first_step = time.monotonic(), trainer.global_step

    def left(self, trainer: Any) -> timedelta | None:
        """Return the time left to the last epoch; None before the first step."""
        done = trainer.global_step - self._first_step
        if not done:
            return None
        to_do = trainer.estimated_stepping_batches - trainer.global_step
        return timedelta(seconds=round((time.monotonic() - self._start) / done * to_do))


class EpochLines(Callback):
    """Logs one line for each epoch: losses, figures on validation, speed, time left, best so far.

    The log goes to standard output, above the progress bar where there is one, and to the log file
    of the run. Where several processes train, the first one speaks for all.

    What a task logs at the end of an epoch reaches callbacks only after the hooks of that end, so
    the line follows in the next hook; nothing lies between the two.
    """

    def __init__(self) -> None:
        self._due: int | None = None  # the number of an epoch that has ended
        self._tokens = torch.tensor(0)

    def on_train_start(self, trainer: Any, task: Any) -> None:
        self._clock = Clock(trainer)
        self._begin()  # the hook below is not called where an epoch is resumed

    def on_train_epoch_start(self, trainer: Any, task: Any) -> None:
        self._log_line(trainer)
        self._begin()

    def on_train_batch_end(
        self, trainer: Any, task: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self._tokens = batch.lengths.sum() + self._tokens  # on the device: nothing waits for it
        if trainer.is_last_batch:  # validation follows
            tokens = self._tokens.item() * trainer.world_size  # their batches are of similar size
            self._speed = tokens / (time.monotonic() - self._began)

    def on_validation_end(self, trainer: Any, task: Any) -> None:
        self._validated = True

    def on_train_epoch_end(self, trainer: Any, task: Any) -> None:
        self._due = trainer.current_epoch + 1

    def on_train_end(self, trainer: Any, task: Any) -> None:
        self._log_line(trainer, ends=True)

    def _begin(self) -> None:
        self._began, self._tokens = time.monotonic(), torch.tensor(0)
        self._validated = False

    def _log_line(self, trainer: Any, ends: bool = False) -> None:
        if self._due is None:  # nothing was trained since the start or resumption
            return
        number, self._due = self._due, None
        figures = trainer.callback_metrics  # those of an earlier validation as well
        parts = [
            f"{name} {figures[tag]:{digits}}"
            for tag, (name, digits) in SHOWN.items()
            if tag in figures and (self._validated or not tag.startswith("val/"))
        ]
        parts.append(f"{self._speed:,.0f} tokens/s")
        if ends and trainer.should_stop and number != trainer.max_epochs:
            parts.append("stops early")
        else:
            parts.append(f"{self._clock.left(trainer)} left")
        checkpoint = trainer.checkpoint_callback  # a resumed run knows its best figure
        if (best := getattr(checkpoint, "best_model_score", None)) is not None:
            name, digits = SHOWN.get(checkpoint.monitor, (checkpoint.monitor, ".4g"))
            parts.append(f"best {name} so far {best:{digits}}")
        with logging_redirect_tqdm():
            log.info("epoch %d/%d: %s", number, trainer.max_epochs, ", ".join(parts))


class Progress(TQDMProgressBar):
    """Lightning's progress bar, with tokens per second and the time left to the last epoch."""

    def on_train_start(self, trainer: Any, task: Any) -> None:
        super().on_train_start(trainer, task)
        self._clock = Clock(trainer)

    def get_metrics(self, trainer: Any, task: Any) -> dict[str, Any]:
        items = super().get_metrics(trainer, task)
        items.pop("v_num", None)  # the run's folder has a name, not a number
        speed = trainer.callback_metrics.get("tokens_per_second")
        if speed is not None:
            items["tokens/s"] = f"{speed:,.0f}"
        if (left := self._clock.left(trainer)) is not None:
            items["left"] = str(left)
        return items


def progress_bar(enabled: bool) -> Progress | None:
    """Return the progress bar; Lightning refuses one where it is switched off.

    Where standard output is no terminal the bar shows nothing: without one Lightning adds its own.
    """
    if not enabled:
        return None
    bar = Progress()
    if not sys.stdout.isatty():
        bar.disable()
    return bar


class AveragedWeights(WeightAveraging):
    """An exponential moving average of the weights, which is validated, evaluated and saved.

    Lightning's own callback loads the weights of the last step wherever it finds them in a
    checkpoint, so it would evaluate those after the training. And its formula, decay times average
    plus the rest times weight, changes weights that are constant, such as those of a frozen
    encoder, by a rounding error at each step.

    Args:
        decay: weight of the old average at each step.
    """

    def __init__(self, decay: float) -> None:
        check_range({"average_weights": decay}, above=0, below=1, otherwise="null")
        super().__init__(
            use_buffers=False, avg_fn=lambda average, now, _: average.lerp(now, 1 - decay)
        )

    def on_load_checkpoint(self, trainer: Any, task: Any, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_load_checkpoint(trainer, task, checkpoint)


def averaged_weights(decay: float | None) -> AveragedWeights | None:
    """Return the callback that averages weights, or None where `decay` is None."""
    return None if decay is None else AveragedWeights(decay)


class Samples(Callback):
    """Logs text that the language model generates after each epoch, for TensorBoard's text tab.

    Args:
        prompts: the forward model continues each, the backward model writes what comes before.
        temperature, seed, max_words: see `elmo.models.generation.generate`.
    """

    def __init__(
        self, prompts: Sequence[str], temperature: float, seed: int, max_words: int
    ) -> None:
        self.prompts = list(prompts)
        self.temperature = temperature
        self.seed = seed
        self.max_words = max_words

    def on_validation_end(self, trainer: lightning.Trainer, task: Any) -> None:
        if not trainer.is_global_zero:
            return
        rows = [
            [prompt, *(self._sample(task.model, prompt, direction) for direction in DIRECTIONS)]
            for prompt in self.prompts
        ]
        table = markdown_table(["prompt", *DIRECTIONS], rows)
        writer = trainer.logger.experiment  # type: ignore[union-attr]
        # At the step of the validation figures; a resumed run writes the later ones again.
        writer.add_text("samples", table, trainer.global_step - 1)

    def _sample(self, model: LanguageModel, prompt: str, direction: Direction) -> str:
        try:
            (words,) = generate(
                model,
                prompt,
                direction,
                temperature=self.temperature,
                seed=self.seed,
                count=1,
                max_words=self.max_words,
            )
        except ArtifactError as error:  # a diverged training continues; its record shows it
            return str(error)
        return join_words(words)
