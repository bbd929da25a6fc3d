from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import pytest

from elmo.utils.memory import exempt_from_collection

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


class Node:
    """Refers to itself, so that only a collection can free it."""

    def __init__(self) -> None:
        self.itself = self


def test_only_what_was_there_is_exempt_from_collection() -> None:
    with exempt_from_collection():
        assert not gc.isenabled()
        before = weakref.ref(Node())
    assert gc.isenabled()
    after = weakref.ref(Node())
    gc.collect()
    assert before() is not None
    assert after() is None
