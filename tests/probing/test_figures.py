from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.patches import Rectangle

from elmo.errors import DataError
from elmo.probing.figures import layer_figure, read_tasks, write_figure


def around(value: float) -> dict[str, Any]:
    return {"seeds": [value], "mean": value, "low": value - 0.01, "high": value + 0.01}


def task(shift: float) -> dict[str, Any]:
    layers: list[Any] = [0, 1, 2, "mix"]
    results: list[dict[str, Any]] = [
        {"encoder": "elmo", "layer": layer, "probe": "linear", "accuracy": around(0.7 + shift)}
        for layer in layers
    ]
    results[-1]["lambdas"] = [[0.2, 0.5, 0.3], [0.3, 0.4, 0.3]]
    results.append({"encoder": "word2vec", "layer": 0, "probe": "linear", "accuracy": around(0.65)})
    return {
        "baselines": {"word_type": 0.6},
        "encoders": {"elmo": {"layers": 3}, "word2vec": {"layers": 1}},
        "results": results,
    }


def test_a_panel_of_accuracies_and_one_of_lambdas_for_each_task() -> None:
    tasks = {name: task(0.01 * number) for number, name in enumerate("abcd")}
    figure = layer_figure(tasks)
    drawn = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in drawn if axes.get_title()] == list("abcd")
    assert len(drawn) == 8
    bars = [
        bar.get_height() for bar in drawn[3].patches if isinstance(bar, Rectangle)
    ]  # below the three of the first row
    assert bars == pytest.approx([0.25, 0.45, 0.3])
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert set(names[:2]) == {"elmo, linear", "word2vec, linear"}
    assert names[2:] == ["most frequent label of the word"]
    only = layer_figure(tasks, encoders=["elmo"])
    assert len(only.legends[0].get_texts()) == 2


def test_files_of_several_commands_are_read_together(tmp_path: Path) -> None:
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    one.write_text(json.dumps({"tasks": {"a": task(0)}}))
    two.write_text(json.dumps({"tasks": {"b": task(0.1)}}))
    assert list(read_tasks([one, two])) == ["a", "b"]
    with pytest.raises(DataError, match=r"two\.json: task b is in another file too"):
        read_tasks([two, two])
    two.write_text("[]")
    with pytest.raises(DataError, match="not a file that elmo probe wrote"):
        read_tasks([two])


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two, picture = tmp_path / "one.svg", tmp_path / "two.svg", tmp_path / "one.png"
    for path in (one, two, picture):
        write_figure(path, {"a": task(0)}, encoders=["elmo"])
    assert one.read_bytes() == two.read_bytes()
    assert picture.read_bytes().startswith(b"\x89PNG")
