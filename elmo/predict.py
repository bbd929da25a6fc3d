"""Forward `python -m elmo.predict` to `elmo predict`."""

from elmo.__main__ import forward

forward(__name__, "predict")
