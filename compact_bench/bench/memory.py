"""Peak memory of one contender's step, in a process of its own.

`python -m compact_bench.bench.memory` reads {"settings", "work", "contender"} as JSON from standard input,
makes two steps, the second with the optimiser's state in place, and writes a `Memory` as JSON. Only a fresh
process tells a contender's own peak: what another one took stays with the process that it ran in.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from compact_bench.errors import CompactBenchError, ConfigError
from compact_bench.settings import Strict
from compact_bench.worker_process import child_environment

__all__ = ["Memory", "measure_command", "peak_of", "resident_bytes"]

STEPS = 2
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Memory(Strict):
    """Memory of a process, or of the GPU where the student is on one.

    Attributes:
        before_bytes: with libraries, student and encoded work loaded, right before the first step.
        peak_bytes: the most during the steps, all of that included.
        whole_peak_bytes: the most in the process's life, loading the student included.
        loss: of the last step.
    """

    before_bytes: int
    peak_bytes: int
    whole_peak_bytes: int
    loss: float

    @property
    def step_bytes(self) -> int:
        """What the steps took on top of what was loaded."""
        return self.peak_bytes - self.before_bytes


def resident_bytes(name: str) -> int:
    """Memory of this process as the system counts it.

    Args:
        name: "VmRSS" for now, "VmHWM" for the most so far.
    """
    if _STATUS.is_file():
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    # Without /proc only the most so far is known; macOS gives bytes, other systems kibibytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_of(act: Callable[[], float]) -> Memory:
    """Main memory before and during `act`, which returns a loss."""
    whole = resident_bytes("VmHWM")
    # Linux starts counting the most anew; where it cannot, what loading took may be the peak.
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")
    before = resident_bytes("VmRSS")
    loss = act()
    peak = resident_bytes("VmHWM")
    return Memory(before_bytes=before, peak_bytes=peak, whole_peak_bytes=max(whole, peak), loss=loss)


def _gpu_peak_of(act: Callable[[], float]) -> Memory:
    import torch

    whole, before = torch.cuda.max_memory_allocated(), torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    loss = act()
    peak = torch.cuda.max_memory_allocated()
    return Memory(before_bytes=before, peak_bytes=peak, whole_peak_bytes=max(whole, peak), loss=loss)


def measure_command(asked: dict[str, object], what: str, threads: int = 0) -> Memory:
    """Run this module in a fresh process.

    Args:
        asked: what the process reads: settings, work and contender as plain data.
        what: names the contender in messages.
        threads: CPU threads; 0 leaves it to torch.

    Raises:
        ConfigError: the process ended without an answer, for example because memory ran out.
    """
    done = subprocess.run(
        [sys.executable, "-m", "compact_bench.bench.memory"],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        env=child_environment(threads),
        check=False,
    )
    if done.returncode == 0:
        return Memory.model_validate_json(done.stdout.splitlines()[-1])
    if done.returncode < 0:
        known = {s.value: s.name for s in signal.Signals}
        name = known.get(-done.returncode, f"signal {-done.returncode}")
        hint = " Memory may have run out: use less work (--teachers, --rationale-tokens)."
        raise ConfigError(
            f"the memory of {what} could not be measured: its process was ended by {name}.{hint}"
        )
    said = done.stderr.strip().splitlines()
    raise ConfigError(
        f"the memory of {what} could not be measured: its process ended with status {done.returncode}: "
        f"{said[-1] if said else 'no message'}"
    )


def _answer(asked: dict[str, object]) -> Memory:
    from compact_bench.bench.contenders import choose_contenders
    from compact_bench.bench.settings import StepSettings
    from compact_bench.bench.stepping import Stepper, open_student
    from compact_bench.bench.work import Work

    settings = StepSettings.model_validate(asked["settings"])
    work = asked["work"]
    assert isinstance(work, dict)
    (contender,) = choose_contenders([str(asked["contender"])])
    student = open_student(settings)
    stepper = Stepper(student, settings)
    prepared = stepper.prepare(contender, Work.from_data(work))
    # Weights lie in a mapped file until they are read; they belong to what is loaded, not to the step.
    for parameter in student.model.parameters():
        parameter.detach().abs().max()
    measure = _gpu_peak_of if student.device.type == "cuda" else peak_of
    # Weights stay as each step makes them, so that no copy of them counts.
    return measure(lambda: [stepper.step(prepared, keep=True).loss for _ in range(STEPS)][-1])


def main() -> None:
    """Answer what standard input asks."""
    try:
        found = _answer(json.loads(sys.stdin.read()))
    except (CompactBenchError, ValidationError) as error:
        print(str(error).splitlines()[0], file=sys.stderr)
        raise SystemExit(1) from None
    print(found.model_dump_json())


if __name__ == "__main__":
    main()
