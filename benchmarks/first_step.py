"""A callback that records when the first training step begins and ends, and then stops the run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning

from elmo.utils.files import write_json


class FirstStep(lightning.Callback):
    """A callback that writes the moments around the first step, in seconds since the Unix epoch.

    Args:
        file: the JSON file to write.
    """

    def __init__(self, file: str) -> None:
        self.file = Path(file)
        self.moments: dict[str, float] = {}

    def setup(self, trainer: Any, task: Any, stage: str) -> None:
        self.moments["fit begins"] = time.time()

    def on_train_batch_start(self, *_: Any) -> None:
        self.moments["first step begins"] = time.time()

    def on_train_batch_end(self, *_: Any) -> None:
        self.moments["first step ends"] = time.time()
        write_json(self.file, self.moments)
        raise SystemExit(0)
