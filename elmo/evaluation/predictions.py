"""The table of predictions that a run keeps of a split: one line per row, without its text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa


def predictions_table(
    rows: np.ndarray,
    labels: Sequence[str] | np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    **further: Any,
) -> pa.Table:
    """Return the columns `row`, `label`, `predicted` and the probability of each class, `p(NAME)`.

    Args:
        rows: numbers of the rows in the source (N,).
        labels: names of their classes (N,).
        probabilities: (N, C).
        further: more columns (N,) by name.
    """
    return pa.table(
        {
            "row": rows,
            "label": labels,
            "predicted": [class_names[place] for place in probabilities.argmax(1)],
            **{f"p({name})": probabilities[:, place] for place, name in enumerate(class_names)},
            **further,
        }
    )
