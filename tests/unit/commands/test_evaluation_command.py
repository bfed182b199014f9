"""The `lm_eval` command line, run for real on a saved student, gives the numbers of `evaluate`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from compact_bench.evaluation.bridge import evaluate
from compact_bench.evaluation.task_files import lm_eval_command, write_task_folder
from compact_bench.evaluation.task_results import TaskResult
from tests.unit.evaluation.test_bridge import SETTINGS, benchmarks

if TYPE_CHECKING:
    from compact_bench.students.student import Student


def run_command_line(command: str, folder: Path) -> dict[str, Mapping[str, Any]]:
    """Results by task of a shell command from `lm_eval_command`, in a fresh process and Hugging Face home."""
    home, output = folder / "home", folder / "output"
    script = f"{Path(sys.executable).with_name('lm_eval')} run"
    command = command.replace("lm_eval run", script).replace(
        "--apply_chat_template", f"--output_path {output} --apply_chat_template"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path.cwd()), environment.get("PYTHONPATH", "")])
    done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not home.exists(), "the data sets' cache was used"
    found: dict[str, Mapping[str, Any]] = {}
    for file in output.rglob("results_*.json"):
        found |= json.loads(file.read_text())["results"]
    return found


@pytest.mark.slow
def test_the_command_line_gives_the_same_accuracy(load_tiny: Callable[..., Student], tmp_path: Path) -> None:
    from compact_bench.students.student import save_student

    student = load_tiny(seed=3)
    results: dict[str, TaskResult] = evaluate(
        student, benchmarks(), SETTINGS, weights_hash="w", cache_dir=tmp_path / "cache"
    )
    save_student(student, tmp_path / "student")
    folder = write_task_folder(tmp_path / "tasks", benchmarks(), SETTINGS)
    command = lm_eval_command(tmp_path / "student", folder, list(benchmarks()), SETTINGS)
    found = run_command_line(command, tmp_path)
    for task, result in results.items():
        assert found[task][f"{result.metric},none"] == result.value
        for name, value in result.others.items():
            assert found[task][f"{name},none"] == value
    assert re.match(r"for task in svamp arc_easy winogrande; do ", command)
