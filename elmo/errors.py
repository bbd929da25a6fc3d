"""The errors meant for users: one message that names the place, the finding and the way out."""

from __future__ import annotations

from collections.abc import Mapping


class ElmoError(Exception):
    """Base of every error that a user can cause and fix; printed without a traceback."""


class DataError(ElmoError):
    """A corpus or vector file is missing, unreadable or not in the expected format."""


class ConfigError(ElmoError):
    """Settings that cannot work, or that do not fit together."""


class ArtifactError(ElmoError):
    """A file of a model that is missing, damaged, of another kind or of a newer format."""


class DivergedError(ElmoError):
    """The training loss is infinite or not a number."""


class MissingModelError(ElmoError):
    """A pretrained model is needed and none is there."""


def check_range(
    values: Mapping[str, float | None],
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    otherwise: str = "",
) -> None:
    """Check that every value lies in a range; None passes, NaN does not.

    Args:
        values: by the name of the setting, such as `bilm.dropout`.
        otherwise: what else a user may set, for the message, such as "null".

    Raises:
        ConfigError: names the first setting outside of the range, its value and the range.
    """
    for name, value in values.items():
        if value is None:
            continue
        fits = (
            (at_least is None or value >= at_least)
            and (above is None or value > above)
            and (at_most is None or value <= at_most)
            and (below is None or value < below)
        )
        if not fits:
            bounds = [
                f"{at_least} or more" if at_least is not None else "",
                f"more than {above}" if above is not None else "",
                f"at most {at_most}" if at_most is not None else "",
                f"less than {below}" if below is not None else "",
            ]
            expected = " and ".join(bound for bound in bounds if bound)
            expected += f", or {otherwise}" if otherwise else ""
            raise ConfigError(f"{name} is {value}; expected {expected}")
