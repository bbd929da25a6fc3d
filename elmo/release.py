"""Forward `python -m elmo.release` to `elmo release`."""

from elmo.__main__ import forward

forward(__name__, "release")
