"""What the two LightningModules share: optimizer, schedule and the final evaluation."""

from __future__ import annotations

import logging
import math
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightning
import torch
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch import Tensor
from torch.nn import LSTM, Module, Parameter
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from elmo.datamodule import TokenData
from elmo.errors import ConfigError, DivergedError
from elmo.ranks import is_launched_apart, part_company, rank_and_ranks, sum_over_ranks

# Lightning announces itself in every fit and test; what a run found is said by the run.
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
logging.getLogger("lightning.fabric.utilities.distributed").setLevel(logging.WARNING)
for message in (
    ".*does not have many workers.*",  # batches are slices of a memory map, workers rarely pay
    "Found .* module.* in eval mode.*",  # the frozen encoder
    ".*smaller than the logging interval.*",  # with few labels
    ".*LeafSpec.*is deprecated.*",  # inside Lightning
    ".*recommended to use .*sync_dist=True.*",  # the metrics are summed over ranks before
    ".*callbacks used to create the checkpoint need to be provided.*",  # final figures need none
    ".*`IterableDataset` has `__len__`.*",  # of a stream's loader, which keeps to it
):
    warnings.filterwarnings("ignore", message)

MakeOptimizer = Callable[[Sequence[Parameter | dict[str, Any]]], Optimizer]
CHECKPOINT_VERSION = 2
PREFIX = {"train": "train", "validation": "val", "test": "test"}


def check_training(
    optimizer: MakeOptimizer,
    warmup: float,
    trainer: lightning.Trainer | None = None,
    in_multirun: bool = False,
) -> None:
    """
    Raises:
        ConfigError: settings that no training can have.
    """
    if trainer and trainer.world_size > 1:
        if not isinstance(trainer.strategy, DDPStrategy):
            raise ConfigError(
                f"trainer.devices and num_nodes make {trainer.world_size} processes under "
                f"{type(trainer.strategy).__name__}; expected trainer=ddp"
            )
        if in_multirun and not is_launched_apart():
            raise ConfigError(
                f"trainer.devices is {trainer.num_devices} in a multirun: the other processes "
                "would be started with the command line of the whole sweep; start the jobs one by "
                "one, or let hydra/launcher=submitit_slurm start the processes of each"
            )
    if trainer and (trainer.gradient_clip_val or 0) < 0:
        raise ConfigError(
            f"trainer.gradient_clip_val is {trainer.gradient_clip_val}; expected 0 or more, or null"
        )
    if not 0 <= warmup < 1:
        raise ConfigError(f"warmup is {warmup}; expected 0 or more and less than 1")
    try:
        optimizer([Parameter(torch.zeros(1))])
    except ValueError as error:
        raise ConfigError(f"optimizer: {error}") from error


def parameters(parts: Mapping[str, Module]) -> dict[str, int]:
    """How many numbers each part of a model has, trained or frozen."""
    return {
        name: sum(parameter.numel() for parameter in part.parameters())
        for name, part in parts.items()
    }


class Task(lightning.LightningModule, ABC):
    """A model with its training.

    Attributes:
        split: which one the final evaluation is at.
        figures: what it found there; a subclass sets them when the split ends.
        best_step: the training step of the checkpoint that is evaluated.
        seconds: what an epoch of training took (the mean, validation not counted) and what the
            final evaluation took.

    Args:
        optimizer: made from the trainable parameters, as in `functools.partial(AdamW, lr=1e-3)`.
        warmup: share of all steps in which the learning rate rises linearly; a cosine then takes
            it down to zero at the last step.
    """

    def __init__(self, optimizer: MakeOptimizer, warmup: float) -> None:
        super().__init__()
        check_training(optimizer, warmup)
        self.optimizer = optimizer
        self.warmup = warmup
        self.split = "validation"
        self.figures: dict[str, float] = {}
        self.best_step = 0
        self.seconds: dict[str, float] = {}
        self._epochs: list[float] = []
        self._before = 0.0  # seconds of this epoch before an interruption
        self._began = time.monotonic()

    @abstractmethod
    def parts(self) -> Mapping[str, Module]:
        """The trained parts of the model, whose gradient norms are logged."""

    def groups(self) -> list[tuple[list[Parameter], float]]:
        """Trained parameters, and the share of the learning rate that they get."""
        return [([p for p in self.parameters() if p.requires_grad], 1.0)]

    def setup(self, stage: str) -> None:
        device = self.trainer.strategy.root_device
        try:
            with self.trainer.precision_plugin.forward_context():
                LSTM(1, 1, device=device)(torch.zeros(1, 1, 1, device=device))
        except RuntimeError as error:
            raise ConfigError(
                f"trainer.precision={self.trainer.precision} does not run on this {device.type}, "
                "which lacks the instructions for an LSTM in that precision; say "
                "trainer.precision=32-true"
            ) from error

    def configure_optimizers(self) -> Any:
        groups = self.groups()
        optimizer = self.optimizer([{"params": parameters} for parameters, _ in groups])
        for group, (_, share) in zip(optimizer.param_groups, groups, strict=True):
            group["lr"] *= share
        steps = float(self.trainer.estimated_stepping_batches)
        if math.isinf(steps):
            raise ConfigError("trainer.max_epochs is -1; the schedule needs an end to decay to")
        rise = max(1.0, self.warmup * steps)

        def factor(step: int) -> float:
            if step < rise:
                return (step + 1) / (rise + 1)
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1.0, steps - rise))))

        schedule = {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def finite(self, loss: Tensor, index: int) -> Tensor:
        """The loss of a training step, unless the training has diverged.

        Args:
            index: of the batch in its epoch.

        Raises:
            DivergedError: the loss is infinite or not a number.
        """
        if not torch.isfinite(loss):
            raise DivergedError(
                f"step {self.global_step + 1} (epoch {self.current_epoch + 1}, batch {index + 1}): "
                f"the loss is {loss.item()}; what checkpoints/ holds is of before; try a lower "
                "optimizer.lr or trainer.gradient_clip_val"
            )
        return loss

    def of_all_ranks(self, losses: Tensor, index: int) -> Tensor:
        """The loss of this process's rows whose gradients, averaged over the processes, are those
        of the mean over all rows of the batch.

        Logs that mean.

        Args:
            losses: of each row or token, of any shape.
            index: of the batch in its epoch.

        Raises:
            DivergedError: see `finite`.
        """
        count = losses.new_tensor(losses.numel())
        total, number = sum_over_ranks(torch.stack([losses.detach().sum(), count]))
        self.log("train/batch_loss", self.finite(total / number, index), prog_bar=True)
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
        """Whether this training step is one that Lightning writes to the logger."""
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
        """As Lightning clips, but for a fused optimizer under bf16-mixed too.

        Lightning refuses that because a gradient scaler may stand between; bf16 has none. On a CPU
        gradients that are short enough are left alone; PyTorch multiplies them by one.
        """
        plugin = self.trainer.precision_plugin
        fused = any(group.get("fused") for group in optimizer.param_groups)
        if fused and getattr(plugin, "scaler", None) is not None:
            raise ConfigError(
                f"trainer.precision={self.trainer.precision} scales the gradients, and a fused "
                "optimizer hides from clipping by how much; say optimizer.fused=false, or "
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
    ) -> dict[str, float]:
        """Evaluate the best checkpoint on train, validation and, if `test`, the test split.

        Returns:
            `train/...`, `val/...` and `test/...`; the logger does not get them.

        Raises:
            ConfigError: no checkpoint was written.
        """
        if not getattr(trainer.checkpoint_callback, "best_model_path", ""):
            raise ConfigError(
                f"there is no best checkpoint to evaluate: trainer.max_epochs is "
                f"{trainer.max_epochs}, expected 1 or more, and callbacks.checkpoint is needed"
            )
        best = trainer.checkpoint_callback.best_model_path  # type: ignore[union-attr]
        results: dict[str, float] = {}
        began = time.monotonic()
        if trainer.world_size > 1:
            part_company()
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
        for split in ("train", "validation", "test") if test else ("train", "validation"):
            self.split = split
            loader = data.evaluation_loader(split)
            trainer.test(self, loader, ckpt_path=best, verbose=False, weights_only=True)
            results |= {f"{PREFIX[split]}/{name}": v for name, v in self.figures.items()}
        self.seconds["evaluation"] = time.monotonic() - began
        return results
