"""The space of a search, and the trials of a random one: a small config file each."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from elmo.errors import ConfigError
from elmo.runs.resume import quoted
from elmo.utils.shipped import CONF, SHIPPED

EXAMPLE = "conf/search_cls.yaml"


class Range(NamedTuple):
    """Numbers from `low` to `high`, both included; whole ones where both ends are.

    With `log` each factor is as probable as any other. With `step` only the numbers that are a
    multiple of it above `low` count.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def is_whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def draw(self, generator: random.Random) -> float:
        """Draw a number."""
        if self.step:
            steps = int((self.high - self.low) / self.step + 1e-9)
            return min(self.low + generator.randint(0, steps) * self.step, self.high)
        if self.is_whole and not self.log:
            return generator.randint(int(self.low), int(self.high))
        if not self.log:
            return generator.uniform(self.low, self.high)
        value = math.exp(generator.uniform(math.log(self.low), math.log(self.high)))
        return min(round(value), self.high) if self.is_whole else value


class Space(NamedTuple):
    """What a search tries: dotted keys, or groups of conf/, of a script."""

    script: str
    fixed: dict[str, Any]
    choices: dict[str, list[Any]]
    ranges: dict[str, Range]


def find_space(name: str) -> Path:
    """Return the file of a space; that of a shipped one is found from any folder."""
    file = Path(name)
    return SHIPPED / file if not file.exists() and (SHIPPED / file).is_file() else file


def read_space(file: Path) -> Space:
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
    shape = {"script": str, "fixed": dict, "choices": dict, "ranges": dict}
    if not isinstance(content, dict) or content.keys() | {"ranges"} != shape.keys():
        raise ConfigError(
            f"{file}: expected the keys script, fixed, choices and perhaps ranges, as in {EXAMPLE}"
        )
    content.setdefault("ranges", {})
    for key, kind in shape.items():
        if not isinstance(content[key], kind):
            raise ConfigError(f"{file}: {key} is {content[key]!r:.60}, see {EXAMPLE}")
    for key, values in content["choices"].items():
        if not isinstance(values, list) or not values:
            raise ConfigError(f"{file}: choices.{key} is {values!r:.60}; expected a list of values")
    ranges = {key: _range(file, key, found) for key, found in content["ranges"].items()}
    return Space(content["script"], content["fixed"], content["choices"], ranges)


def _range(file: Path, key: str, found: Any) -> Range:
    """Return the range of a setting.

    Raises:
        ConfigError: it is none.
    """
    wrong = ConfigError(
        f"{file}: ranges.{key} is {found!r:.60}; expected numbers low and high, high the larger, "
        "and perhaps a step, or log: true with low above 0"
    )
    if not isinstance(found, Mapping) or not {"low", "high"} <= found.keys() <= set(Range._fields):
        raise wrong
    made = Range(**found)
    numbers = [made.low, made.high, *([] if made.step is None else [made.step])]
    if not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        raise wrong
    too_low = made.log and (made.low <= 0 or made.step is not None)
    if made.low >= made.high or too_low or not (made.step is None or made.step > 0):
        raise wrong
    return made


def draw(space: Space, trials: int, seed: int) -> list[dict[str, Any]]:
    """Draw different combinations, each as probable as any other.

    Raises:
        ConfigError: `trials` is less than 1, or more than there are combinations.
    """
    combinations = math.prod(len(values) for values in space.choices.values())
    if trials < 1 or (not space.ranges and trials > combinations):
        raise ConfigError(f"--trials {trials}: expected 1 to {combinations:,}, the combinations")
    generator = random.Random(seed)
    found: dict[str, dict[str, Any]] = {}
    while len(found) < trials:
        trial = {key: generator.choice(values) for key, values in space.choices.items()}
        trial |= {key: of.draw(generator) for key, of in space.ranges.items()}
        found.setdefault(json.dumps(trial), trial)
    return list(found.values())


def file_name(number: int, trial: dict[str, Any]) -> str:
    """Return the name of a trial in files and the sweep table: `07+mixer-learned+dropout-0.3`."""
    parts = [f"{key.rsplit('.', 1)[-1]}-{short(value)}" for key, value in trial.items()]
    return re.sub(r"[^a-zA-Z0-9_.+-]", "_", "+".join([f"{number:02}", *parts]))


def short(value: Any) -> str:
    """Return a value for a table: a number in three digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def is_group(key: str) -> bool:
    """Tell whether a key is a group of conf/, of which a value picks a file."""
    return (CONF / key).is_dir()


def as_overrides(settings: Mapping[str, Any]) -> list[str]:
    """Return settings as a script takes them on its command line."""
    return [
        f"{key}={value}" if is_group(key) else f"{key}={_as_value(value)}"
        for key, value in settings.items()
    ]


def _as_value(value: Any) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list):
        return f"[{','.join(map(_as_value, value))}]"
    return json.dumps(value)  # null, true, 0.003


def as_config(script: str, settings: dict[str, Any]) -> str:
    """Return a Hydra config that sets dotted keys; those that are groups of conf/ pick a file."""
    groups = {key: value for key, value in settings.items() if is_group(key)}
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
