"""Where a number came from."""

import sys

import pytest
import torch

from iapt.provenance import git_state, machine, peak_memory_mib, reset_peak_memory

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


def test_the_commit_is_that_of_the_code_that_was_loaded(monkeypatch: pytest.MonkeyPatch):
    before = git_state()
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("asked again"))
    assert git_state() == before


def test_a_measurement_says_what_it_ran_on_and_how_busy_that_was():
    found = machine(CPU)
    assert found["cpu"]
    assert found["cores"] >= 1
    assert found["memory_gib"] > 0
    assert found["load"] >= 0
    assert "gpu" not in found
