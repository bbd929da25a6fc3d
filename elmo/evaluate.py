"""Forward `python -m elmo.evaluate` to `elmo evaluate`."""

from elmo.__main__ import forward

forward(__name__, "evaluate")
