"""The turns of a training under Lightning: a meter of a turn, and the callback that holds it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch.profiler import ProfilerActivity, profile

from benchmarks.harness import Turn
from benchmarks.models import make
from benchmarks.parts import seconds_in_cudnn, shares_of_parts
from benchmarks.place import Place
from elmo.data.batches import Batch


class Meter:
    """The batches of a turn, and its time.

    Args:
        place: where the batches are computed.
        flops: counts the multiplications and additions of a batch; None counts none.
    """

    def __init__(self, place: Place, flops: Callable[[Batch], float] | None = None) -> None:
        self.place = place
        self.flops = flops
        self.batches: list[Batch] = []
        place.synchronize()
        self.start = time.perf_counter()

    def result(self) -> dict[str, Any]:
        """Return the speed, and its share of the matrix-multiply rate of this process."""
        self.place.synchronize()
        seconds = time.perf_counter() - self.start
        batches = [batch.to(torch.device("cpu")) for batch in self.batches]
        tokens = sum(int(batch.lengths.sum()) for batch in batches)
        result: dict[str, Any] = {
            "seconds": seconds,
            "steps": len(batches),
            "tokens/s": tokens / seconds,
            "padding": 1 - tokens / sum(batch.tokens.numel() for batch in batches),
        }
        if self.flops is not None:
            rate = sum(map(self.flops, batches)) / seconds
            limit = self.place.limit()
            result |= {"FLOP/s": rate, "limit FLOP/s": limit, "share": rate / limit}
        return result


class Turns(lightning.Callback):
    """The last callback of a batch; it holds the training between turns.

    Args:
        turn: see `benchmarks.harness.in_turn`.
        steps: of a turn.
        place, flops: see `Meter`.
        profiled: a result also has the share of each part, and of cuDNN: of the time on the
            processor, or of that on the GPU.
    """

    def __init__(
        self,
        turn: Turn,
        steps: int,
        place: Place,
        flops: Callable[[Batch], float] | None,
        profiled: bool = False,
    ) -> None:
        self.turn = turn
        self.steps = steps
        self.place = place
        self.flops = flops
        self.profiled = profiled

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == 0:
            self.begin(None)

    def on_train_batch_end(self, trainer: Any, task: Any, _: Any, batch: Any, __: Any) -> None:
        self.meter.batches.append(batch)
        if trainer.global_step % self.steps == 0:
            result = self.meter.result()
            if self.profiled:
                self.profile.stop()
                events, seconds = self.profile.events(), result["seconds"]
                result["shares"] = shares_of_parts(events, seconds, gpu=not self.place.on_cpu)
                result["cuDNN"] = seconds_in_cudnn(events) / seconds
            self.begin(result)

    def begin(self, result: Any) -> None:
        self.turn(result)
        if self.profiled:
            activities = [ProfilerActivity.CPU]
            if not self.place.on_cpu:
                activities.append(ProfilerActivity.CUDA)
            self.profile = profile(activities=activities)
            self.profile.start()
        self.meter = Meter(self.place, self.flops)


def fit(cfg: Any, task: Any, data: Any, turns: Turns) -> None:
    """Train with the trainer and the callbacks of these settings, and with `turns` as the last."""
    with tempfile.TemporaryDirectory() as folder:
        callbacks = [*filter(None, make(cfg.callbacks).values()), turns]
        logger = TensorBoardLogger(folder, name="", version="")
        trainer = make(cfg.trainer)(callbacks=callbacks, logger=logger, enable_checkpointing=False)
        trainer.fit(task, data)
