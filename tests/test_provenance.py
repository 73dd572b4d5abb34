"""Where a number came from."""

import platform
import sys

import pytest
import torch

from iapt.backbone.device import keep_freed_memory
from iapt.provenance import machine, peak_memory_mib, reset_peak_memory

CPU = torch.device("cpu")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can set its high-water mark back")
def test_peak_memory_counts_from_its_reset_not_from_an_earlier_run():
    block = torch.ones(32 * 2**20)  # 128 MiB
    with_block = peak_memory_mib(CPU)
    del block
    reset_peak_memory(CPU)
    assert peak_memory_mib(CPU) < with_block - 64
    block = torch.ones(32 * 2**20)
    assert peak_memory_mib(CPU) > with_block - 64
    del block


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")
def test_peak_memory_leaves_out_what_the_process_has_kept_of_an_earlier_run():
    keep_freed_memory()
    blocks = [torch.ones(4 * 2**20) for _ in range(16)]  # 16 MiB each, too small to be returned when freed
    with_blocks = peak_memory_mib(CPU)
    del blocks
    reset_peak_memory(CPU)
    assert peak_memory_mib(CPU) < with_blocks - 128


def test_a_measurement_says_what_it_ran_on_and_how_busy_that_was():
    found = machine(CPU)
    assert found["cpu"]
    assert found["cores"] >= 1
    assert found["memory_gib"] > 0
    assert found["load"] >= 0
    assert "gpu" not in found
