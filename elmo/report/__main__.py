"""Forward `python -m elmo.report` to `elmo report`."""

from elmo.__main__ import forward

forward(__name__, "report")
