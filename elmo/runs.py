"""What lies on disk around a run: atomic writes, cached folders, records."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import torch

from elmo.errors import ConfigError

log = logging.getLogger(__name__)

HEADLINES = ("val/perplexity", "test/perplexity", "val/accuracy", "test/accuracy", "test/f1")


@contextlib.contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """A temporary file beside `path` that takes its name once it is whole and on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_text(path: Path, text: str) -> None:
    with atomic_writer(path) as handle:
        handle.write(text.encode())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Plain JSON, which has no numbers for infinity and "not a number": they become null."""
    plain = json.loads(json.dumps(content), parse_constant=lambda _: None)
    write_text(path, json.dumps(plain, indent=2, ensure_ascii=False) + "\n")


def publish(folder: Path, build: Callable[[Path], object]) -> None:
    """Let `build` fill a temporary folder that becomes `folder` once it is whole.

    Where another process was faster, its folder stays and ours is dropped: both hold the same,
    because the name of a cached folder is the key of its content.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        build(temporary)
        temporary.chmod(0o755)
        temporary.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sha256_of(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """The machine's Python and the packages whose change could change a figure."""
    names = ("torch", "lightning", "numpy", "tokenizers", "gensim", "datasets", "torchmetrics")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


class Run:
    """A run folder from start to end: refuses to overwrite another, times itself, keeps the record.

    Args:
        run_dir: the folder, there already.
        artifact: the file that the run will leave, `bilstm.pt` or `classifier.pt`.

    Raises:
        ConfigError: the folder holds a finished run.
    """

    def __init__(self, run_dir: Path, artifact: str) -> None:
        if (run_dir / artifact).exists():
            raise ConfigError(
                f"{run_dir} already holds {artifact}: no run overwrites another; leave "
                "hydra.run.dir out to get a new folder, or name an empty one"
            )
        self.run_dir = run_dir
        self.artifact = run_dir / artifact
        self.started = time.monotonic()

    def finish(self, **record: Any) -> None:
        """Write `metrics.json`: what the run found, with all that is needed to repeat it."""
        record["seconds"] = round(time.monotonic() - self.started, 1)
        record["threads"] = torch.get_num_threads()
        record["versions"] = versions()
        write_json(self.run_dir / "metrics.json", record)
        figures = {name: record["metrics"].get(name) for name in HEADLINES}
        shown = [f"{name} {value:.4g}" for name, value in figures.items() if value is not None]
        if "val/perplexity" in record["metrics"]:  # which means nothing without these
            data = record["data"]
            shown.append(f"V {data['vocabulary_size']:,}")
            shown += [f"{split} unknown {rate:.2%}" for split, rate in data["unknown_rate"].items()]
        log.info("wrote %s: %s", self.artifact, ", ".join(shown))


def read_record(run_dir: Path) -> dict[str, Any]:
    """The content of a run's `metrics.json`."""
    return json.loads((run_dir / "metrics.json").read_text())
