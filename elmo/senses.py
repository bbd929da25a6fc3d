"""Forward `python -m elmo.senses` to `elmo senses`."""

from elmo.__main__ import forward

forward(__name__, "senses")
