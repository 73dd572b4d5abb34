"""The device of a process, and memory that tensors on the CPU free, which stays with the process."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from iapt.backbone import processes
from iapt.backbone.device import device_named, is_amd
from iapt.errors import ConfigError

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


def test_each_process_of_a_machine_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch):
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(processes, "count", lambda: 4)  # on two machines
    for name, value in {"RANK": "3", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    own = torch.device("cuda", 1)
    assert device_named("auto") == device_named("cuda") == own
    assert chosen == [own, own]
    assert device_named("cpu") == torch.device("cpu")
    with pytest.raises(ConfigError, match=r"device=cuda:0: one GPU, but the run has 4 processes"):
        device_named("cuda:0")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(ConfigError, match=r"3 processes on a machine with 2 GPUs"):
        device_named("cuda")


def test_a_gpu_that_is_not_there_is_named_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_named("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(
        ConfigError, match=r"device=cuda:2: the last of this machine's GPUs is cuda:1"
    ):
        device_named("cuda:2")


@pytest.mark.parametrize(("vendor", "amd"), [("AuthenticAMD", True), ("GenuineIntel", False)])
def test_the_maker_of_the_cpu_is_read_from_linux(monkeypatch, vendor: str, amd: bool):
    monkeypatch.setattr(Path, "read_text", lambda *args, **kwargs: f"vendor_id\t: {vendor}\n")
    assert is_amd() is amd


def test_a_system_that_does_not_say_has_no_cpu_of_amds(monkeypatch):
    def missing(*args: object, **kwargs: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert is_amd() is False
