from __future__ import annotations

import sys

import pytest

from conftest import run_apart

FAULTS = """
import resource, sys, torch
from elmo.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def work():
    for _ in range(3):
        torch.ones(20_000_000)  # 80 MB, more than what the C library keeps by itself
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is what it speaks to")
def test_freed_memory_is_used_again() -> None:
    faults = {}
    for mode in ("keep", "default"):
        finished = run_apart(["-c", FAULTS, mode])
        assert finished.code == 0, finished.stderr
        faults[mode] = int(finished.stdout)
    assert faults["keep"] < 100 < faults["default"]
