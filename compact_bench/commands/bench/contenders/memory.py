"""Memory that a process, or a GPU, took while something ran."""

from __future__ import annotations

import contextlib
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from compact_bench.core.settings import Strict

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
Found = TypeVar("Found")


class Memory(Strict):
    """Memory of a process, or of the GPU where the student is on one.

    Attributes:
        before_bytes: with libraries, student and encoded work loaded, right before the first step.
        peak_bytes: the most during the steps, all of that included.
        whole_peak_bytes: the most in the process's life, loading the student included.
    """

    before_bytes: int
    peak_bytes: int
    whole_peak_bytes: int

    @property
    def step_bytes(self) -> int:
        """What the steps took on top of what was loaded."""
        return self.peak_bytes - self.before_bytes


def resident_bytes(name: str) -> int:
    """Memory of this process as the system counts it: "VmRSS" is the present, "VmHWM" the most so far."""
    if _STATUS.is_file():
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    # Without /proc only the most so far is known; macOS gives bytes, other systems kibibytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_during(act: Callable[[], Found], *, gpu: bool = False) -> tuple[Found, Memory]:
    """Run something and measure the memory before and during it, of the process or of the GPU."""
    if gpu:
        return _gpu_peak_during(act)
    whole = resident_bytes("VmHWM")
    # Linux starts counting the most anew; where it cannot, what loading took may be the peak.
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")
    before = resident_bytes("VmRSS")
    returned = act()
    peak = resident_bytes("VmHWM")
    return returned, Memory(before_bytes=before, peak_bytes=peak, whole_peak_bytes=max(whole, peak))


def _gpu_peak_during(act: Callable[[], Found]) -> tuple[Found, Memory]:
    import torch

    whole, before = torch.cuda.max_memory_allocated(), torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    returned = act()
    peak = torch.cuda.max_memory_allocated()
    return returned, Memory(before_bytes=before, peak_bytes=peak, whole_peak_bytes=max(whole, peak))
