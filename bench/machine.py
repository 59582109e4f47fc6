"""What processes cost: CPU time and memory, from the kernel's own accounts, the whole tree below a process included.

A process that ends takes its account with it, so measure between two moments in which the tree is the same.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_MIB = 1_048_576


def tree(pid: int) -> list[int]:
    """Children are listed by the thread that started them."""
    listed = [task.read_text().split() for task in Path(f"/proc/{pid}/task").glob("*/children")]
    return [pid, *(below for children in listed for child in children for below in tree(int(child)))]


def cpu_seconds(pid: int) -> float:
    """User and system, to the nanosecond: /proc/…/stat counts in hundredths of a second."""
    return sum(time.clock_gettime(_cpu_clock(member)) for member in tree(pid))


def loop_seconds(pid: int) -> float:
    """CPU of the first thread alone: of a node, what its loop has been at work."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9


def rss_mib(pid: int) -> float:
    """Resident now. What processes share is counted for each."""
    pages = sum(int(Path(f"/proc/{member}/statm").read_text().split()[1]) for member in tree(pid))
    return round(pages * _PAGE / _MIB, 1)


def peak_mib(pid: int) -> float:
    """The most that was ever resident, summed over the tree as it is now."""
    return round(sum(_peak_kib(member) for member in tree(pid)) / 1024, 1)


def threads_of_a_core(folder: Path = Path("/sys/devices/system/cpu")) -> float:
    """As the kernel was told, which on a virtual machine need not be so: above 1, some of its cores are one core."""
    told = [each.read_text() for each in folder.glob("cpu[0-9]*/topology/thread_siblings_list")]
    return round(len(told) / len(set(told)), 3) if told else 0.0


def _cpu_clock(pid: int) -> int:
    """What clock_getcpuclockid(3) returns: the process by its number, and 2 for scheduled time."""
    return (~pid << 3) | 2


def _peak_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split(maxsplit=1)[0])
