"""Memory that tensors on the CPU free stays with the process."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import torch
from iapt.backbone.device import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensors = [torch.ones(2**20) for _ in range(30)]  # 4 MiB each, 30,720 pages in all
    del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if {kept}:
    keep_freed_memory()
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_freed_memory_is_not_asked_for_again():
    def second_time(kept: bool) -> int:
        code = FAULTS.format(kept=kept)
        return int(subprocess.check_output([sys.executable, "-c", code], text=True))

    assert 3 * second_time(kept=True) < second_time(kept=False)
