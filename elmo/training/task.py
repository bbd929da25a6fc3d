"""The base of the two LightningModules: its steps, checkpoints and the final evaluation."""

from __future__ import annotations

import logging
import math
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic

import lightning
import torch
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch import Tensor
from torch.nn import LSTM, Module
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from elmo.data.datamodule import TokenData
from elmo.errors import ConfigError, DivergedError
from elmo.evaluation.results import PREFIX, Evaluation, R, splits_to_evaluate
from elmo.training.schedule import Group, MakeOptimizer, check_schedule, rise_and_fall
from elmo.utils.ranks import (
    gather_from_ranks,
    leave_group,
    rank_and_ranks,
    sum_over_ranks,
)

# Lightning announces itself in every fit and test; the run reports what it found.
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
logging.getLogger("lightning.fabric.utilities.distributed").setLevel(logging.WARNING)
for message in (
    ".*does not have many workers.*",  # batches are slices of a memory map, workers rarely pay
    "Found .* module.* in eval mode.*",  # the frozen encoder
    ".*smaller than the logging interval.*",  # with few labels
    ".*LeafSpec.*is deprecated.*",  # inside Lightning
    ".*recommended to use .*sync_dist=True.*",  # the metrics are summed over ranks before
    ".*callbacks used to create the checkpoint need to be provided.*",  # final figures need none
    ".*`IterableDataset` has `__len__`.*",  # of a stream's loader, which respects it
    "Checkpoint directory .* exists and is not empty.*",  # of a run that is resumed
):
    warnings.filterwarnings("ignore", message)

CHECKPOINT_VERSION = 2


def count_parameters(parts: Mapping[str, Module]) -> dict[str, int]:
    """Return the number of parameters of each part of a model, trained or frozen."""
    return {
        name: sum(parameter.numel() for parameter in part.parameters())
        for name, part in parts.items()
    }


class Task(lightning.LightningModule, ABC, Generic[R]):
    """A model and its training.

    Attributes:
        VALIDATED: the figures of each validation, and whether a lower value is better, `min`, or a
            higher one, `max`.
        split: the split that the final evaluation is at.
        figures: the metrics of that split; a subclass sets them when the split ends.
        results: what a subclass found in each split.
        best_step: the training step of the checkpoint that is evaluated.
        seconds: what an epoch of training took (the mean, without validation) and what the final
            evaluation took.

    Args:
        optimizer: called with the trainable parameters, as in `functools.partial(AdamW, lr=1e-3)`.
        warmup: share of all steps in which the learning rate rises linearly; a cosine then lowers
            it to zero at the last step.
    """

    VALIDATED: ClassVar[Mapping[str, str]]

    def __init__(self, optimizer: MakeOptimizer, warmup: float) -> None:
        super().__init__()
        check_schedule(optimizer, warmup)
        self.optimizer = optimizer
        self.warmup = warmup
        self.split = "validation"
        self.figures: dict[str, float] = {}
        self.results: dict[str, R] = {}
        self.best_step = 0
        self.seconds: dict[str, float] = {}
        self._epochs: list[float] = []
        self._before = 0.0  # seconds of this epoch before an interruption
        self._began = time.monotonic()

    @abstractmethod
    def parts(self) -> Mapping[str, Module]:
        """Return the trained parts of the model, whose gradient norms are logged."""

    def parameter_groups(self) -> list[Group]:
        """Return the trained parameters in groups."""
        return [Group([p for p in self.parameters() if p.requires_grad])]

    def setup(self, stage: str) -> None:
        device = self.trainer.strategy.root_device
        self.trained_on = str(device)  # Lightning moves the model to the CPU afterwards
        if len(found := set(gather_from_ranks(self.trainer.precision))) > 1:
            raise ConfigError(
                f"trainer.precision=auto is not the same for all processes: {sorted(found)}; their "
                "machines differ, so name one, such as trainer.precision=32-true"
            )
        try:
            with self.trainer.precision_plugin.forward_context():
                LSTM(1, 1, device=device)(torch.zeros(1, 1, 1, device=device))
        except RuntimeError as error:
            raise ConfigError(
                f"trainer.precision={self.trainer.precision} does not run on this {device.type}, "
                "which lacks the instructions for an LSTM in that precision; take a machine that "
                "has them, or start a new run with trainer.precision=32-true"
            ) from error

    def configure_optimizers(self) -> Any:
        groups = self.parameter_groups()
        optimizer = self.optimizer([{"params": group.parameters} for group in groups])
        for options, group in zip(optimizer.param_groups, groups, strict=True):
            options["lr"] *= group.share
        steps = float(self.trainer.estimated_stepping_batches)
        if math.isinf(steps):
            raise ConfigError("trainer.max_epochs is -1; the schedule needs an end to decay to")
        factor = rise_and_fall(steps, self.warmup)

        def factor_from(start: float) -> Callable[[int], float]:
            def started(step: int) -> float:
                batches = step * self.trainer.accumulate_grad_batches
                waits = batches < start * self.trainer.num_training_batches
                return 0.0 if waits else factor(step)

            return started

        factors = [factor_from(group.start) for group in groups]
        schedule = {"scheduler": LambdaLR(optimizer, factors), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def mean_over_ranks(self, losses: Tensor, index: int, name: str = "train/batch_loss") -> Tensor:
        """Return the loss to differentiate, and log the mean over the rows of all processes.

        The loss is scaled so that its gradients, averaged over the processes, are those of the mean
        over all rows or tokens of the batch.

        Args:
            losses: of each row or token of this process, of any shape.
            index: of the batch in its epoch.
            name: under which the mean is logged.

        Raises:
            DivergedError: the mean is infinite or not a number.
        """
        count = losses.new_tensor(losses.numel())
        total, number = sum_over_ranks(torch.stack([losses.detach().sum(), count]))
        mean = total / number
        if not torch.isfinite(mean):
            raise DivergedError(
                f"step {self.global_step + 1} (epoch {self.current_epoch + 1}, batch {index + 1}): "
                f"the loss is {mean.item()}; checkpoints/ holds the state before; try a lower "
                "optimizer.lr or trainer.gradient_clip_val"
            )
        self.log(name, mean, prog_bar=True)
        return losses.sum() * (rank_and_ranks()[1] / number)

    def on_fit_start(self) -> None:
        if self.global_rank:  # the same weights, but other dropout
            torch.manual_seed(torch.initial_seed() + self.global_rank)

    def on_train_start(self) -> None:
        self._began, self._before = time.monotonic() - self._before, 0.0

    def on_train_epoch_start(self) -> None:
        self._began = time.monotonic()

    def on_validation_start(self) -> None:
        self._epochs.append(time.monotonic() - self._began)
        self.seconds["epoch"] = sum(self._epochs) / len(self._epochs)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["elmo_version"] = CHECKPOINT_VERSION
        checkpoint["epoch_seconds"] = self._epochs
        checkpoint["seconds_of_this_epoch"] = time.monotonic() - self._began
        weights = self.state_dict().keys()
        # Running sums that are no part of an artifact, such as those of the gates.
        checkpoint["sums"] = {
            name: value for name, value in self.named_buffers() if name not in weights
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.best_step = checkpoint["global_step"]
        if self.trainer.state.fn == TrainerFn.FITTING:
            self._epochs = checkpoint["epoch_seconds"]
            self._before = checkpoint["seconds_of_this_epoch"]
            for name, value in checkpoint["sums"].items():
                self.get_buffer(name).copy_(value)

    @property
    def logs_now(self) -> bool:
        """Whether Lightning writes this training step to the logger."""
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return (self.global_step + 1) % every == 0

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Log the norms of the gradients, before clipping."""
        if not self.logs_now:
            return
        for name, part in {**self.parts(), "total": self}.items():
            gradients = [p.grad for p in part.parameters() if p.grad is not None]
            if gradients:
                self.log(f"grad_norm/{name}", get_total_norm(gradients))

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as Lightning does, but under bf16-mixed with a fused optimizer as well.

        Lightning refuses that because a gradient scaler may be in between; bf16 has none. On a CPU
        gradients that are short enough are left alone; PyTorch would multiply them by one.
        """
        plugin = self.trainer.precision_plugin
        fused = any(group.get("fused") for group in optimizer.param_groups)
        if fused and getattr(plugin, "scaler", None) is not None:
            raise ConfigError(
                f"trainer.precision={self.trainer.precision} scales the gradients, and a fused "
                "optimizer hides from clipping by how much; set optimizer.fused=false, or "
                "trainer.precision=bf16-mixed"
            )
        algorithm = GradClipAlgorithmType(gradient_clip_algorithm or "norm")
        limit = gradient_clip_val or 0.0
        if algorithm == GradClipAlgorithmType.NORM and self.device.type == "cpu" and limit > 0:
            gradients = [p.grad for p in self.parameters() if p.grad is not None]
            if get_total_norm(gradients) <= limit:
                return
        Precision.clip_gradients(plugin, optimizer, limit, algorithm)

    def evaluate(
        self, trainer: lightning.Trainer, data: TokenData, test: bool = True
    ) -> Evaluation[R]:
        """Evaluate the best checkpoint on train, validation and, if `test`, the test split.

        Nothing is sent to the logger.

        Raises:
            ConfigError: no checkpoint was written.
        """
        best = getattr(trainer.checkpoint_callback, "best_model_path", "")
        if not best:
            raise ConfigError(
                f"there is no best checkpoint to evaluate: trainer.max_epochs is "
                f"{trainer.max_epochs}, expected 1 or more, and callbacks.checkpoint is needed"
            )
        metrics: dict[str, float] = {}
        began = time.monotonic()
        if trainer.world_size > 1:
            leave_group()
            trainer = lightning.Trainer(
                accelerator=trainer.accelerator.name(),
                devices=1,
                precision=trainer.precision,
                logger=False,
                enable_checkpointing=False,
                enable_model_summary=False,
                enable_progress_bar=False,
                plugins=[trainer.strategy.checkpoint_io],
                limit_test_batches=trainer.limit_test_batches,
            )
        for split in splits_to_evaluate(test):
            self.split = split
            loader = data.evaluation_loader(split)
            trainer.test(self, loader, ckpt_path=best, verbose=False, weights_only=True)
            metrics |= {f"{PREFIX[split]}/{name}": value for name, value in self.figures.items()}
        self.seconds["evaluation"] = time.monotonic() - began
        return Evaluation(metrics, self.results, self.best_step, self.seconds)

    def facts(self) -> dict[str, Any]:
        """Return what `metrics.json` records of the model itself."""
        return {"device": self.trained_on, "parameters": count_parameters(self.parts())}
