"""The page of `elmo page`: a look inside models and runs in the browser."""
