"""What is freed is used again, and the system is not asked for cleared pages each time."""

import platform

import pytest

from commands import start_code

COUNT = """
import resource, torch
from danlu.training.malloc import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.empty(10_000_000).fill_(1.0)  # 40 MB: 9766 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
without = faults()
kept = keep_freed_memory()
faults()
print(kept, without, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not GNU's")
def test_freed_memory_is_used_again():
    told = start_code(COUNT).ended().split()
    kept, without, with_ = told[0], int(told[1]), int(told[2])
    assert kept == "True"
    assert with_ < without / 20
    assert with_ < 9766  # not once in twenty times


def test_elsewhere_nothing_is_done(monkeypatch):
    from danlu.training.malloc import keep_freed_memory

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert keep_freed_memory() is False
