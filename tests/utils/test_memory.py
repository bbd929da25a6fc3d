from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import resource
import torch
from elmo.utils.memory import keep_freed_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

{call}
block = torch.ones(20_000_000)
held = resident()
del block
print((held - resident()) / 80_000_000)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
@pytest.mark.parametrize(("call", "given_back"), [("", 1.0), ("keep_freed_memory()", 0.0)])
def test_freed_tensors_stay_with_the_process(call: str, given_back: float) -> None:
    command = [sys.executable, "-c", SCRIPT.format(call=call)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(given_back, abs=0.05)
