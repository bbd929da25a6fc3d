"""Forward `python -m elmo.search` to `elmo search`."""

from elmo.__main__ import forward

forward(__name__, "search")
