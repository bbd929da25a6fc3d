"""The trials of a random search: one small config file each, for a multirun."""

from __future__ import annotations

import json
import math
import random
import re
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from elmo.errors import ConfigError
from elmo.utils.shipped import CONF

EXAMPLE = "conf/search_cls.yaml"


def read_space(file: Path) -> tuple[str, dict[str, Any], dict[str, list[Any]]]:
    """Return the script, the fixed settings, and the values of each setting that varies.

    Raises:
        ConfigError: the file is missing, or has another format.
    """
    if not file.is_file():
        raise ConfigError(f"{file}: no such file; expected a YAML file like {EXAMPLE}")
    try:
        content = OmegaConf.to_container(OmegaConf.load(file))
    except Exception as error:  # those of the disk, of YAML and of OmegaConf have no common base
        reason = " ".join(str(error).split())
        raise ConfigError(f"{file}: {reason}; expected a YAML file like {EXAMPLE}") from error
    shape = {"script": str, "fixed": dict, "choices": dict}
    if not isinstance(content, dict) or content.keys() != shape.keys():
        raise ConfigError(f"{file}: expected the keys script, fixed and choices, as in {EXAMPLE}")
    for key, kind in shape.items():
        if not isinstance(content[key], kind):
            raise ConfigError(f"{file}: {key} is {content[key]!r:.60}, see {EXAMPLE}")
    for key, values in content["choices"].items():
        if not isinstance(values, list) or not values:
            raise ConfigError(f"{file}: choices.{key} is {values!r:.60}; expected a list of values")
    return content["script"], content["fixed"], content["choices"]


def draw(choices: dict[str, list[Any]], trials: int, seed: int) -> list[dict[str, Any]]:
    """Draw different combinations, each as probable as any other.

    Raises:
        ConfigError: `trials` is less than 1, or more than there are combinations.
    """
    combinations = math.prod(len(values) for values in choices.values())
    if not 1 <= trials <= combinations:
        raise ConfigError(f"--trials {trials}: expected 1 to {combinations:,}, the combinations")
    generator = random.Random(seed)
    found: dict[str, dict[str, Any]] = {}
    while len(found) < trials:
        trial = {key: generator.choice(values) for key, values in choices.items()}
        found.setdefault(json.dumps(trial), trial)
    return list(found.values())


def file_name(number: int, trial: dict[str, Any]) -> str:
    """Return the name of a trial in files and the sweep table: `07+mixer-learned+dropout-0.3`."""
    parts = [f"{key.rsplit('.', 1)[-1]}-{value}" for key, value in trial.items()]
    return re.sub(r"[^a-zA-Z0-9_.+-]", "_", "+".join([f"{number:02}", *parts]))


def as_config(script: str, settings: dict[str, Any]) -> str:
    """Return a Hydra config that sets dotted keys; those that are groups of conf/ pick a file."""
    groups = {key: value for key, value in settings.items() if (CONF / key).is_dir()}
    content: dict[str, Any] = {
        "defaults": [{f"override /{key}": value} for key, value in groups.items()]
    }
    for key, value in settings.items():
        if key not in groups:
            *path, last = key.split(".")
            node = content
            for part in path:
                node = node.setdefault(part, {})
            node[last] = value
    head = f"# @package _global_\n# python {script} '+trial=glob(*)' -m\n"
    return head + OmegaConf.to_yaml(OmegaConf.create(content))
