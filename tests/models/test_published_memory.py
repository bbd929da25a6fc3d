"""Loading a published model takes little more memory than its weights."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from conftest import run_apart
from models.published_reference import arrays_of, options_of, shapes_of, write_model

MEASURE = """
import gc, sys
from pathlib import Path
from elmo.models.loading import load_bilm

def memory(name):
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if name in line]
    return 1024 * int(line.split()[1])

load_bilm(sys.argv[1])  # what is imported and allocated once
gc.collect()
Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from now on
before = memory("VmRSS")
encoder = load_bilm(sys.argv[2])
held = sum(value.numel() * value.element_size() for value in encoder.state_dict().values())
print(held, memory("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="counts as Linux does")
@pytest.mark.parametrize("characters", [True, False])
def test_loading_takes_no_more_than_1_3_times_the_size(characters: bool, tmp_path: Path) -> None:
    words = [
        "<S>",
        "</S>",
        "<UNK>",
        *(f"w{number}" for number in range(0 if characters else 30_000)),
    ]
    small = options_of(characters)
    few = None if characters else words[:5]
    write_model(tmp_path / "small", small, arrays_of(small, 0 if few is None else 5), few)
    options = options_of(characters, dim=2048, projection_dim=256)
    large = write_model(tmp_path / "large", options, {}, None if characters else words)
    size = 0
    with h5py.File(large / "weights.hdf5", "w") as file:
        for name, shape in shapes_of(options, len(words)).items():
            file[name] = np.full(shape, 0.01, "float32")
            size += file[name].nbytes
    assert 60e6 < size < 120e6
    command = ["-c", MEASURE, str(tmp_path / "small"), str(large)]
    finished = run_apart(command)
    assert finished.code == 0, finished.stderr
    held, peak = map(int, finished.stdout.split())
    assert held == pytest.approx(size, rel=0.01)
    assert 0.9 * size < peak < 1.3 * size, peak / size
