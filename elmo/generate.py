"""Forward `python -m elmo.generate` to `elmo generate`."""

from elmo.__main__ import forward

forward(__name__, "generate")
