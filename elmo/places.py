"""The folders that a run writes to: looked at before anything is done."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class Places(Callback):
    """Ends the program with one line where a run could not write.

    Hydra's own attempt would end in a traceback.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        check_places(config.hydra.run.dir, config.cache_dir)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        check_places(config.hydra.sweep.dir, config.cache_dir)


def check_places(run_dir: str, cache_dir: str) -> None:
    for key, folder in (("output_dir", run_dir), ("cache_dir", cache_dir)):
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            message = f"error: {folder}: {error.strerror}; choose another {key}"
            print(message, file=sys.stderr)
            raise SystemExit(1) from error
