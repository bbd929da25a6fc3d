"""Forward `python -m elmo.embed` to `elmo embed`."""

from elmo.__main__ import forward

forward(__name__, "embed")
