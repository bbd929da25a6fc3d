"""Settings that do not make a run what it is: one list of keys, by the reason.

The report, the sweep, the folder names, the release and `resume=` all ask here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Where a run's own files go, and what it is called: no two runs differ by these alone.
OWN_PATHS = {"output_dir", "cache_dir", "resume"}
OWN = OWN_PATHS | {"study", "label"}
# Where inputs lie. What the inputs hold is recorded apart, by fingerprint or hash.
INPUTS = {
    *(
        "bilm_path",
        "encoder.bilm_path",
        "encoder.output_dir",
        "embedding.path",
        "encoder.bilm_paths",
    ),
    *("teacher.runs", "label_weights.suspects", "augmentation.bilm_path"),
    *("data.dir", "data.cache_dir", "data.files", "data.test_files"),
}
# How a run is executed and what it shows.
EXECUTION = {
    *("threads", "store", "callbacks", "callbacks.last_checkpoint.minutes"),
    *("experiment", "evaluate_test", "monitor", "mode"),
    *("trainer.accelerator", "trainer.enable_progress_bar", "trainer.enable_model_summary"),
    *("trainer.log_every_n_steps", "trainer.num_sanity_val_steps"),
    *("trainer.use_distributed_sampler", "datamodule.num_workers", "datamodule.evaluation_rows"),
}
# Copies of a setting at the top level.
COPIES = {"datamodule.label_share", "features.label_share"}

NEUTRAL = OWN | INPUTS | EXECUTION | COPIES  # no figure depends on these
# Callbacks that only show something. They are no part of what a run is, so that runs and sweeps
# which were started before there were any still resume.
SHOWING = ("callbacks.epoch_lines",)
# What may differ when a run is resumed: how long, where, what is shown.
CHANGEABLE = (
    "trainer.max_epochs",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
)
# Read only with `encoder.finetune=true`.
FINETUNING = ("finetune_lr", "layer_decay", "unfreeze_epochs", "language_model_weight")


def relevant(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the settings that figures depend on, as `group.key: value`.

    Left out are class names, None, what is not read, and the keys in `NEUTRAL`.
    """
    flat: dict[str, Any] = {}
    frozen = not prefix and not settings.get("encoder", {}).get("finetune")
    for key, value in settings.items():
        if key.startswith("_") or prefix + key in NEUTRAL or (frozen and key in FINETUNING):
            continue
        if isinstance(value, dict):
            flat |= relevant(value, f"{prefix}{key}.")
        elif value is not None:
            whole = isinstance(value, float) and value.is_integer()  # 1.0 was typed as 1 elsewhere
            plain = int(value) if whole else value
            flat[prefix + key] = plain if isinstance(plain, (bool, int, float)) else str(plain)
    return flat


def relevant_choices(choices: Mapping[str, str]) -> dict[str, str]:
    """Return the config groups that figures depend on, with the file that each took."""
    return {group: name for group, name in choices.items() if group not in NEUTRAL}


def without_paths(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return settings in which no path of this machine is left: they are None."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if prefix + key in ("callbacks", "store"):  # they hold folders of the run and of the cache
            continue
        if isinstance(value, Mapping):
            found[key] = without_paths(value, f"{prefix}{key}.")
        else:
            found[key] = None if prefix + key in OWN_PATHS | INPUTS else value
    return found


def is_seed(key: str) -> bool:
    """Tell whether a dotted key is that of a seed; scikit-learn calls it `random_state`."""
    return key.rpartition(".")[2] in ("seed", "random_state")


def without_seeds(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with dotted keys, the seeds left out."""
    return {key: value for key, value in settings.items() if not is_seed(key)}


def is_neutral_override(override: str) -> bool:
    """Tell whether an override such as `data.dir=FOLDER` changes no figure."""
    key = override.partition("=")[0].lstrip("+~")
    if key == "experiment":  # what it sets is not typed
        return False
    return any(key == name or key.startswith(f"{name}.") for name in (*NEUTRAL, "hydra"))
