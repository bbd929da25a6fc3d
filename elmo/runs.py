"""What lies on disk around a run: atomic writes, its folder, its records."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import torch
from filelock import FileLock, Timeout

from elmo.errors import ConfigError
from elmo.ranks import first_rank_first, rank
from elmo.resume import CHANGEABLE, RUN_FILE, refuse_used

log = logging.getLogger(__name__)

FINAL_EVENTS = ".final"  # ends the name of the TensorBoard file with what follows the training
LAST = "last.ckpt"  # in checkpoints/: where a resumed training goes on
DEFAULT_THREADS = torch.get_num_threads()
HEADLINES = ("val/perplexity", "test/perplexity", "val/accuracy", "test/accuracy", "test/f1")

# Where things lie and how they are run: not what a figure depends on.
NOT_COMPARED = {
    *("callbacks", "experiment", "monitor", "mode", "evaluate_test"),
    *("output_dir", "cache_dir", "bilm_path"),
    *(
        "data.dir",
        "data.cache_dir",
        "store",
        "threads",
        "resume",
        "encoder.bilm_path",
        "encoder.output_dir",
        "embedding.path",
    ),
    *("trainer.accelerator", "trainer.enable_progress_bar", "trainer.enable_model_summary"),
    *("trainer.log_every_n_steps", "trainer.num_sanity_val_steps", "datamodule.num_workers"),
    *("trainer.use_distributed_sampler", "datamodule.evaluation_rows"),
    *("datamodule.label_share", "features.label_share"),  # `label_share` stands at the top
}
FINETUNING = ("finetune_lr", "layer_decay")  # read with `encoder.finetune=true` alone


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


def sha256_of(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """The machine's Python and the packages whose change could change a figure."""
    names = ("torch", "lightning", "numpy", "tokenizers", "gensim", "datasets", "torchmetrics")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def git_state() -> dict[str, Any] | None:
    """Commit of the checkout that the code lies in, and whether it was changed since."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None


class Run:
    """A run folder from start to end; as a context, it is nobody else's for as long.

    Attributes:
        checkpoint: what an earlier start of the same run left to go on from, if anything.
        threads: that PyTorch computes with. Their number changes last bits, so a resumed run has
            that of its start.

    Args:
        run_dir: the folder, there already.
        artifact: the file that the run will leave, `bilstm.pt` or `classifier.pt`.
        start: what it is started with, for `run.json`: script, overrides, settings, choices.
        may_continue: go on where an earlier start of the same run ended.
        processes: that train on this machine.
        threads: of each process where the settings name no number; None shares all cores.

    Raises:
        ConfigError: the folder holds another run, or a finished one, or one that is going on.
    """

    def __init__(
        self,
        run_dir: Path,
        artifact: str,
        start: Mapping[str, Any],
        may_continue: bool,
        processes: int = 1,
        threads: int | None = None,
    ) -> None:
        self.run_dir = run_dir
        self.artifact = run_dir / artifact
        self.start = start
        self.may_continue = may_continue
        self.processes = processes
        share = max(1, DEFAULT_THREADS // processes)
        self.threads = start["settings"]["threads"] or threads or share
        self.begins()
        self._lock = FileLock(run_dir / ".lock")

    @property
    def leads(self) -> bool:
        """Whether this is the first of the processes of the run, which alone writes."""
        return rank() == 0

    def __enter__(self) -> Run:
        if not self.leads:
            self._take_threads()
            return self
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ConfigError(
                f"{self.run_dir}: a run is going on in it; wait for it, or leave hydra.run.dir out "
                "to get a new folder"
            ) from None
        try:
            self._begin()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def prepares(self) -> contextlib.AbstractContextManager[None]:
        """What stands inside, the first process does first, and the others find it in the cache."""
        return first_rank_first(self.run_dir / ".prepared")

    def begins(self) -> None:
        """From now on the seconds of the run are counted."""
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        """That the run has taken, those before an interruption among them."""
        return time.monotonic() - self.started

    def _begin(self) -> None:
        if not self.may_continue:
            refuse_used(self.run_dir)
        file = self.run_dir / RUN_FILE
        if not file.is_file():
            state = {"threads": self.threads, "versions": versions(), "git": git_state()}
            write_json(file, {**self.start, **state})
        else:
            record = json.loads(file.read_text())
            self._compare(record["settings"])
            self.threads = record["threads"]
        self._take_threads()
        for left in self.run_dir.glob("**/.*-????????"):  # of writes that were cut short
            left.unlink(missing_ok=True)

    def _take_threads(self) -> None:
        torch.set_num_threads(self.threads)
        if self.processes > 1:  # else Lightning takes a number of its own
            os.environ["OMP_NUM_THREADS"] = str(self.threads)

    def _compare(self, before: Mapping[str, Any]) -> None:
        """
        Raises:
            ConfigError: the settings are not those that the run was started with.
        """
        now = json.loads(json.dumps(self.start["settings"]))
        for key in sorted(before.keys() | now.keys()):
            if key not in CHANGEABLE and before.get(key) != now.get(key):
                raise ConfigError(
                    f"{self.run_dir} was started with {key}={before.get(key)}, which is now "
                    f"{now.get(key)}: conf/ or the latest biLM has changed; a resumed run keeps "
                    "its settings, so change it back or start a new run"
                )

    @property
    def checkpoint(self) -> Path | None:
        path = self.run_dir / "checkpoints" / LAST
        return path if path.is_file() else None

    def finish(self, **record: Any) -> None:
        """Write `metrics.json`: what the run found, with all that is needed to repeat it."""
        record["seconds"] = round(self.seconds, 1)
        record["threads"] = self.threads
        record["versions"] = versions()
        record["git"] = git_state()
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


def is_place(override: str) -> bool:
    """Whether an override such as `data.dir=FOLDER` says where or how a run goes."""
    key = override.partition("=")[0].lstrip("+~")
    if key == "experiment":  # what it sets is not typed
        return False
    return any(key == name or key.startswith(f"{name}.") for name in (*NOT_COMPARED, "hydra"))


def compared(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings as `group.key: value`, without what names a class, is not read or `NOT_COMPARED`."""
    flat: dict[str, Any] = {}
    frozen = not prefix and not settings.get("encoder", {}).get("finetune")
    for key, value in settings.items():
        if key.startswith("_") or prefix + key in NOT_COMPARED or (frozen and key in FINETUNING):
            continue
        if isinstance(value, dict):
            flat |= compared(value, f"{prefix}{key}.")
        elif value is not None:
            whole = isinstance(value, float) and value.is_integer()  # 1.0 was typed as 1 elsewhere
            plain = int(value) if whole else value
            flat[prefix + key] = plain if isinstance(plain, (bool, int, float)) else str(plain)
    return flat


def is_seed(key: str) -> bool:
    """Whether a setting with a dotted key is a seed; scikit-learn calls it `random_state`."""
    return key.rpartition(".")[2] in ("seed", "random_state")
