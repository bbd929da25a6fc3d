"""Figures made from results."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure


def confusion_matrix_figure(counts: np.ndarray, class_names: list[str], split: str) -> Figure:
    """The confusion matrix, coloured by the share of the true class, with counts in the cells.

    Args:
        counts: (C true, C predicted).
    """
    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
    size = 1.6 + 1.1 * len(class_names)
    figure = Figure(figsize=(size + 0.6, size), layout="constrained", dpi=120)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
    axes.set_xticks(range(len(class_names)), class_names)
    axes.set_yticks(range(len(class_names)), class_names)
    axes.set(xlabel="predicted", ylabel="true", title=f"Confusion matrix, {split}")
    for (true, predicted), share in np.ndenumerate(shares):
        axes.text(
            predicted,
            true,
            f"{share:.1%}\n{counts[true, predicted]:,}",
            ha="center",
            va="center",
            fontsize=9,
            color="white" if share > 0.5 else "black",
        )
    return figure
