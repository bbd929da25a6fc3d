"""Forward `python -m elmo.neighbours` to `elmo neighbours`."""

from elmo.__main__ import forward

forward(__name__, "neighbours")
