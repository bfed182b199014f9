"""What a user's YAML consists of, and metrics that no record can hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from compact_bench.core.errors import ConfigError
from compact_bench.data.files.task_yaml import task_code, task_rows
from compact_bench.evaluation.bridge import evaluate
from tests.unit.evaluation import test_own_tasks
from tests.unit.evaluation.test_own_tasks import SCORING, SETTINGS, WRITTEN, Load

tasks = test_own_tasks.tasks


@pytest.mark.parametrize(
    ("yaml", "changed"),
    [
        ("process_results: !function 'scoring.close'", "scoring.py"),
        ('"include": base.yaml', "base.yaml"),
        ("include:\n  - base.yaml", "base.yaml"),
        ("include: base.yaml  # my base", "base.yaml"),
        ("include: 'base.yaml'", "scoring.py"),
        ("include: base.yaml", "helper_beside.py"),
    ],
)
def test_whatever_way_yaml_is_written_its_parts_count(tasks: Path, yaml: str, changed: str) -> None:
    """Found by YAML, as the harness does, not by the look of a line."""
    function = "process_results: !function scoring.close\n"
    (tasks / "base.yaml").write_text(WRITTEN.replace("task: my_sums\n", ""))
    (tasks / "helper_beside.py").write_text("offset = 1.0\n")
    (tasks / "scoring.py").write_text(
        "import pathlib, sys\nsys.path.insert(0, str(pathlib.Path(__file__).parent))\nimport helper_beside\n"
        + SCORING
    )
    text = f"task: my_sums\n{yaml}\n" if "include" in yaml else WRITTEN.replace(function, f"{yaml}\n")
    (tasks / "own.yaml").write_text(text)
    before = task_code(tasks / "own.yaml")
    (tasks / "check.py").write_text("# of no function\n")
    assert task_code(tasks / "own.yaml") == before, "a file that nothing imports"
    (tasks / changed).write_text((tasks / changed).read_text() + "\n# another one\n")
    assert task_code(tasks / "own.yaml") != before


@pytest.mark.parametrize("metric", ["closeness", "length"])
@pytest.mark.parametrize("value", ['float("nan")', 'float("inf")', "10**400", "-(10**400)"])
@pytest.mark.parametrize("always", [True, False])
def test_a_metric_that_is_no_finite_number_is_named_with_its_file(
    metric: str, value: str, always: bool, tasks: Path, load_tiny: Load
) -> None:
    when = "True" if always else "results[0]"
    (tasks / "scoring.py").write_text(
        f"def close(doc, results):\n    scores = dict(closeness=0.5, length=1.0)\n"
        f"    if {when}:\n        scores[{metric!r}] = {value}\n    return scores\n"
    )
    message = rf"sums\.yaml, metric '{metric}': expected a finite number of every item, got "
    if always:
        # Before anything is trained: an empty answer is scored.
        with pytest.raises(ConfigError, match=message):
            task_rows(tasks / "sums.yaml", "closeness")
        return
    rows = task_rows(tasks / "sums.yaml", "closeness")
    with pytest.raises(ConfigError, match=message):
        evaluate(load_tiny(), {"m": rows}, SETTINGS, weights_hash="w", cache_dir=tasks / "cache")
