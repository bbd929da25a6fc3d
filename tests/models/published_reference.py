"""The published format once more, by its description alone: models, and their layers in float64."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from conftest import ROOT

DEV = ROOT / "tests/published"
NAMES = ("released_shape", "no_skip_tanh", "word_level")
CELL = "RNN_{}/RNN/MultiRNNCell/Cell{}/LSTMCell"

Arrays = dict[str, np.ndarray]
State = tuple[np.ndarray, np.ndarray]


def options_of(characters: bool = True, **changes: Any) -> dict[str, Any]:
    """Options whose clips act, with other values by name; None leaves a name out."""
    lstm: dict[str, Any] = {
        "dim": 9,
        "projection_dim": 5,
        "n_layers": 2,
        "cell_clip": 0.6,
        "proj_clip": 0.4,
        "use_skip_connections": True,
    }
    cnn: dict[str, Any] = {
        "embedding": {"dim": 3},
        "filters": [[1, 4], [3, 5], [2, 2]],
        "n_highway": 2,
        "activation": "relu",
        "n_characters": 262,
        "max_characters_per_token": 50,
    }
    for name, value in changes.items():
        section = lstm if name in lstm else cnn
        assert name in section
        section[name] = value
    sections = {"lstm": lstm, **({"char_cnn": cnn} if characters else {})}
    return {
        key: {name: value for name, value in section.items() if value is not None}
        for key, section in sections.items()
    }


def shapes_of(options: dict[str, Any], words: int = 0) -> dict[str, tuple[int, ...]]:
    """The data sets of a model; `words` of a vocabulary, where it reads no characters."""
    lstm, cnn = options["lstm"], options.get("char_cnn")
    h, p = lstm["dim"], lstm["projection_dim"]
    shapes: dict[str, tuple[int, ...]] = {}
    if cnn is None:
        shapes["embedding"] = (words, p)
    else:
        d, total = cnn["embedding"]["dim"], sum(count for _, count in cnn["filters"])
        shapes["char_embed"] = (261, d)
        for number, (width, count) in enumerate(cnn["filters"]):
            shapes[f"CNN/W_cnn_{number}"] = (1, width, d, count)
            shapes[f"CNN/b_cnn_{number}"] = (count,)
        for number in range(cnn.get("n_highway", 0)):
            for gate in ("carry", "transform"):
                shapes[f"CNN_high_{number}/W_{gate}"] = (total, total)
                shapes[f"CNN_high_{number}/b_{gate}"] = (total,)
        if total != p:
            shapes["CNN_proj/W_proj"] = (total, p)
            shapes["CNN_proj/b_proj"] = (p,)
    for direction in range(2):
        for layer in range(lstm.get("n_layers", 1)):
            cell = CELL.format(direction, layer)
            shapes |= {f"{cell}/W_0": (2 * p, 4 * h), f"{cell}/B": (4 * h,)}
            if p < h:
                shapes[f"{cell}/W_P_0"] = (h, p)
    return shapes


def arrays_of(options: dict[str, Any], words: int = 0, seed: int = 0) -> Arrays:
    """Random weights, large enough that each of them matters."""
    random = np.random.default_rng(seed)
    return {
        name: random.normal(0, 0.8, shape).astype("float32")
        for name, shape in shapes_of(options, words).items()
    }


def write_model(
    folder: Path, options: Any, arrays: Arrays, vocabulary: Sequence[str] | None = None
) -> Path:
    """Write a model to a new folder, and return it."""
    folder.mkdir()
    (folder / "options.json").write_text(json.dumps(options))
    with h5py.File(folder / "weights.hdf5", "w") as file:
        for name, array in arrays.items():
            file[name] = array
    if vocabulary is not None:
        (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in vocabulary))
    return folder


def ids_of(token: str, longest: int) -> list[int]:
    """The characters of a token, not shifted."""
    marks = {"<S>": [256], "</S>": [257]}
    content = marks.get(token) or list(token.encode("utf-8", "ignore"))[: longest - 2]
    return ([258, *content, 259] + longest * [260])[:longest]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


class Reference:
    """A model, read one token and one step at a time.

    Args:
        vocabulary: the words of its rows, where it reads no characters.
    """

    def __init__(
        self, options: dict[str, Any], arrays: Arrays, vocabulary: Sequence[str] = ()
    ) -> None:
        self.lstm, self.cnn = options["lstm"], options.get("char_cnn")
        self.arrays = {name: array.astype("float64") for name, array in arrays.items()}
        self.rows = {word: row for row, word in enumerate(vocabulary)}
        self.states: dict[tuple[int, int, int], State] = {}

    def vector(self, token: str) -> np.ndarray:
        """The vector (P,) of a token."""
        w = self.arrays
        if self.cnn is None:
            return w["embedding"][self.rows.get(token, self.rows["<UNK>"])]
        longest = self.cnn.get("max_characters_per_token", 50)
        embedded = w["char_embed"][ids_of(token, longest)]  # (C, d)
        parts = []
        for number, (width, _) in enumerate(self.cnn["filters"]):
            kernel, bias = w[f"CNN/W_cnn_{number}"][0], w[f"CNN/b_cnn_{number}"]
            windows = [embedded[place : place + width] for place in range(longest - width + 1)]
            parts.append(np.einsum("pwd,wdn->pn", np.stack(windows), kernel).max(0) + bias)
        x = np.concatenate(parts)
        x = np.tanh(x) if self.cnn["activation"] == "tanh" else np.maximum(x, 0)
        for number in range(self.cnn.get("n_highway", 0)):
            name = f"CNN_high_{number}"
            gate = sigmoid(x @ w[f"{name}/W_carry"] + w[f"{name}/b_carry"])
            other = np.maximum(x @ w[f"{name}/W_transform"] + w[f"{name}/b_transform"], 0)
            x = gate * other + (1 - gate) * x
        return x @ w["CNN_proj/W_proj"] + w["CNN_proj/b_proj"] if "CNN_proj/W_proj" in w else x

    def step(self, x: np.ndarray, cell: str, state: State) -> State:
        """The next h and c."""
        h, c = state
        z = np.concatenate([x, h]) @ self.arrays[f"{cell}/W_0"] + self.arrays[f"{cell}/B"]
        i, j, f, o = np.split(z, 4)
        c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(j)
        if (clip := self.lstm.get("cell_clip")) is not None:
            c = c.clip(-clip, clip)
        h = sigmoid(o) * np.tanh(c)
        if f"{cell}/W_P_0" in self.arrays:
            h = h @ self.arrays[f"{cell}/W_P_0"]
            if (clip := self.lstm.get("proj_clip")) is not None:
                h = h.clip(-clip, clip)
        return h, c

    def layers(self, tokens: Sequence[str], row: int | None = None) -> np.ndarray:
        """The layers (L, T + 2, 2 P) of a sentence, `<S>` and `</S>` included.

        Args:
            row: whose state goes on from the sentence before; None starts from zero.
        """
        first = [self.vector(token) for token in ("<S>", *tokens, "</S>")]
        h, p = self.lstm["dim"], self.lstm["projection_dim"]
        halves = []
        for direction in range(2):
            below = first if direction == 0 else first[::-1]
            found = [np.stack(first)]
            for layer in range(self.lstm.get("n_layers", 1)):
                state = np.zeros(p), np.zeros(h)
                if row is not None:
                    state = self.states.get((row, direction, layer), state)
                outputs = []
                for x in below:
                    state = self.step(x, CELL.format(direction, layer), state)
                    skip = layer > 0 and self.lstm["use_skip_connections"]
                    outputs.append(state[0] + x if skip else state[0])
                if row is not None:
                    self.states[row, direction, layer] = state
                below = outputs
                found.append(np.stack(below if direction == 0 else below[::-1]))
            halves.append(np.stack(found))
        return np.concatenate(halves, -1)
