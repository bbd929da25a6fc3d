"""Forward `python -m elmo.compare` to `elmo compare`."""

from elmo.__main__ import forward

forward(__name__, "compare")
