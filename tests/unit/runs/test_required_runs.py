"""Runs that require another run of the same seed: order, keys, failures, kills, through the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from compact_bench.commands.planning import plan_method
from compact_bench.core.errors import CompactBenchError, ConfigError
from compact_bench.core.records import RunKey, RunRecord
from compact_bench.methods.registry import make_method, use_method_files
from compact_bench.runs import run as run_module
from compact_bench.runs.plan import required_first, required_keys
from compact_bench.runs.session import Request, Session
from compact_bench.runs.store.store import Store
from compact_bench.runs.workers.queue import Job, JobQueue
from tests.unit.command import Done, run_command

Capture = pytest.CaptureFixture[str]
Run = Callable[..., Done]


@pytest.fixture
def run(suite: Path, capsys: Capture) -> Run:
    def command(method: str, *more: str, workers: str = "1") -> Done:
        words = ("run", method, "--suite", suite, "--profile", "smoke", "--threads", "1")
        return run_command(capsys, *words, "--workers", workers, *more)

    return command


@pytest.fixture
def session(suite: Path, tmp_path: Path) -> Callable[..., Session]:
    def make(*overrides: str, **changes: Any) -> Session:
        request = Request(str(suite), "smoke", tmp_path / "cache", tmp_path / "store", overrides=overrides)
        return Session(replace(request, **changes), ["shuffled_weights"])

    return make


def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def by_method(tmp_path: Path) -> dict[str, RunRecord]:
    return {record.key.method: record for record in store(tmp_path).records()}


def only_key(session: Session, method: str) -> RunKey:
    (planned,) = plan_method(session, method).runs
    return planned.key


# ---------------------------------------------------------------------------------------------------- the key


def test_the_required_runs_hash_is_part_of_the_key(session: Callable[..., Session]) -> None:
    key, compact = (only_key(session(), name) for name in ("shuffled_weights", "compact"))
    assert key.requires == {"of": compact.hash} and not compact.requires
    assert only_key(session(), "constant_weights").requires == {"of": compact.hash}
    assert replace(key, requires={"of": "other"}).hash != key.hash
    read_back = RunKey(**json.loads(json.dumps(asdict(key))))
    assert read_back == key and read_back.hash == key.hash
    for change in ("temperature=0.5", "learning_rate=0.01", "items_per_task=1"):
        mine, theirs = (only_key(session(change), name) for name in ("shuffled_weights", "compact"))
        assert mine.requires == {"of": theirs.hash} and mine.hash != key.hash, change
    assert only_key(session("agreement_weight=0.5"), "shuffled_weights") == key, "no setting of the two"
    other = only_key(session("of=mcc_kd"), "shuffled_weights")
    assert other.requires == {"of": only_key(session("of=mcc_kd"), "mcc_kd").hash}
    variant = only_key(session("of=compact[no-consensus]"), "shuffled_weights")
    assert variant.requires == {"of": only_key(session(), "compact[no-consensus]").hash}


def test_other_code_of_the_required_run_is_another_run(
    session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = only_key(session(), "shuffled_weights")
    monkeypatch.setattr(
        "compact_bench.runs.plan.method_code", lambda source, config: f"{source.name} of today"
    )
    after = only_key(session(), "shuffled_weights")
    assert after.requires != before.requires and after.hash != before.hash


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("of=compct", "Did you mean 'compact'"),
        ("of=compact[no-such]", "unknown variant"),
        ("of=zero_shot", "a method that trains, got 'zero_shot'"),
        ("of=shuffled_weights", "can be run before it, got 'shuffled_weights'"),
        ("of=single_teacher", "teacher"),
        ("of=", "of"),
    ],
)
def test_what_no_run_can_be_made_from_is_refused(run: Run, override: str, text: str) -> None:
    done = run("shuffled_weights", "--set", override)
    assert done.code == 2 and text in done.err, done.err
    assert "Traceback" not in done.err


# --------------------------------------------------------------------------------------------------- the plan


def test_a_required_run_is_planned_before_and_its_setting_can_be_set(run: Run, tmp_path: Path) -> None:
    done = run("shuffled_weights", "--seeds", "1,2", "--set", "temperature=0.5")
    assert done.code == 0, done.err
    assert "compact, for shuffled_weights" in done.err and "4 of 4 runs to do" in done.err
    records = sorted(store(tmp_path).records(), key=lambda r: r.provenance["started"])
    made = [(r.key.seed, r.key.method) for r in records]
    assert made == [(1, "compact"), (1, "shuffled_weights"), (2, "compact"), (2, "shuffled_weights")]
    for record in records:
        assert record.status == "done"
        if record.key.requires:
            required = store(tmp_path).load(record.key.requires["of"])
            assert required is not None and required.key.seed == record.key.seed
            kept = record.training["extra"]["required"]["of"]
            assert kept == {"run": required.key.hash, "steps": required.files["steps.parquet"]}
    assert "nothing to run" in run("shuffled_weights", "--seeds", "1,2", "--set", "temperature=0.5").err
    assert "1 of 1 runs to do" in run("constant_weights", "--set", "temperature=0.5").err


def test_a_table_plans_it_once_wherever_its_rows_stand(suite: Path, tmp_path: Path, capsys: Capture) -> None:
    def reproduce(methods: str, *more: str) -> Done:
        words = ("reproduce", "--suite", suite, "--profile", "smoke", "--methods", methods)
        return run_command(capsys, *words, "--threads", "1", "--workers", "1", *more)

    planned = reproduce("constant_weights,shuffled_weights", "--dry-run")
    assert planned.code == 0 and "3 of 3 runs to do" in planned.err, planned.err
    assert planned.err.count("compact, for Constant weights") == 1
    assert "3 of 3 runs to do" in reproduce("shuffled_weights,compact,constant_weights", "--dry-run").err
    assert not store(tmp_path).records()
    assert reproduce("constant_weights").code == 0
    assert set(by_method(tmp_path)) == {"compact", "constant_weights"}
    assert "1 of 1 runs to do" in reproduce("shuffled_weights", "--dry-run").err


def test_workers_take_a_run_only_when_what_it_requires_is_done(run: Run, tmp_path: Path) -> None:
    done = run("shuffled_weights", "--seeds", "1,2,3", workers="2")
    assert done.code == 0, done.err
    records = {r.key.hash: r for r in store(tmp_path).records()}
    assert len(records) == 6
    for record in records.values():
        for name in record.key.requires.values():
            assert records[name].provenance["finished"] <= record.provenance["started"]
    alone = {r.key.hash: r.weights for r in records.values()}
    assert run("shuffled_weights", "--seeds", "1,2,3", "--rerun").code == 0
    assert {r.key.hash: r.weights for r in store(tmp_path).records()} == alone


def test_the_queue_waits_for_what_is_required_and_for_no_more() -> None:
    key = RunKey("a", "", "tiny", "r", "tiny", "f", "smoke", 1, {}, 1)
    needing = Job(None, replace(key, method="b", requires={"of": key.hash}))  # type: ignore[arg-type]
    needed, other = Job(None, key), Job(None, replace(key, method="c"))  # type: ignore[arg-type]
    now = [0.0]
    queue = JobQueue([needing, needed, other], clock=lambda: now[0])
    assert queue.take() is needed
    assert queue.take() is other
    assert queue.put_off(other)
    assert queue.put_off(needed), "what waits for it is nothing else to do"
    now[0] += 5.0
    assert queue.take() is other and queue.take() is needed
    queue.finish(needed, RunRecord(needed.key, "failed"))
    assert queue.take() is needing, "however it ended"


# -------------------------------------------------------------------------------------- what can go otherwise


def broken(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Training of one method fails."""

    def make(name: str, config: Any) -> Any:
        if name == method:
            raise CompactBenchError("no luck today")
        return make_method(name, config)

    monkeypatch.setattr(run_module, "make_method", make)


def test_its_failure_is_the_reason_and_both_are_tried_again(
    run: Run, suite: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        broken(patch, "compact")
        done = run("shuffled_weights")
        assert done.code == 1
        record = by_method(tmp_path)["shuffled_weights"]
        assert record.status == "failed"
        assert record.reason == "it needs the run of compact, which failed: no luck today"
        words = ("report", "--suite", suite, "--profile", "smoke", "--methods", "table,shuffled_weights")
        assert run_command(capsys, *words).code == 0
        assert "which failed: no luck today" in (tmp_path / "RESULTS.csv").read_text()
    assert run("shuffled_weights").code == 0
    assert {r.status for r in store(tmp_path).records()} == {"done"}


def test_where_it_cannot_run_the_other_cannot(run: Run, tmp_path: Path) -> None:
    done = run("shuffled_weights", "--set", "of=edit")
    assert done.code == 0, done.err
    record = by_method(tmp_path)["shuffled_weights"]
    assert record.status == "unsupported"
    assert record.reason.startswith("it needs the run of edit, which cannot run here: it needs pairs")
    assert "nothing to run" in run("shuffled_weights", "--set", "of=edit").err


def test_where_it_was_not_trained_the_other_is_not(run: Run, tmp_path: Path) -> None:
    run("shuffled_weights", "--set", "learning_rate=1e-30")
    record = by_method(tmp_path)["shuffled_weights"]
    assert record.status == "untrained"
    assert record.reason.startswith("it needs the run of compact, which was not trained: ")


def test_a_kill_between_the_two_goes_on_with_the_second(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = run_module._evaluate
    called: list[int] = []

    def killed_in_the_second(*arguments: Any) -> Any:
        called.append(1)
        if len(called) == 2:
            raise KeyboardInterrupt
        return evaluate(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "_evaluate", killed_in_the_second)
        assert run("shuffled_weights").code == 130
    assert set(by_method(tmp_path)) == {"compact"}
    before = by_method(tmp_path)["compact"].provenance["finished"]
    done = run("shuffled_weights")
    assert done.code == 0 and "1 of 1 runs to do" in done.err
    assert by_method(tmp_path)["compact"].provenance["finished"] == before
    interrupted = by_method(tmp_path)["shuffled_weights"].weights
    assert run("shuffled_weights", "--rerun").code == 0
    assert by_method(tmp_path)["shuffled_weights"].weights == interrupted


def test_a_required_run_that_is_removed_is_made_again_when_it_is_needed(
    run: Run, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long paths of a student must not break the state over lines.
    monkeypatch.setenv("COLUMNS", "400")
    assert run("shuffled_weights").code == 0
    gone = run_command(capsys, "rm", "compact")
    assert gone.code == 0
    assert "Made from what is removed, and kept: tiny/smoke/shuffled_weights@1" in gone.out
    listed = run_command(capsys, "list", "runs")
    assert "made from run" in listed.out and "which is not here" in listed.out
    assert "nothing to run" in run("shuffled_weights").err
    assert "2 of 2 runs to do" in run("shuffled_weights", "--rerun").err
    assert set(by_method(tmp_path)) == {"compact", "shuffled_weights"}
    assert "made from" in run_command(capsys, "show", "shuffled_weights@1").out
    assert run_command(capsys, "gc").code == 0
    assert "nothing to run" in run("shuffled_weights").err


def test_what_was_made_from_another_table_is_made_anew(run: Run, tmp_path: Path) -> None:
    """As after `run compact --rerun` with other packages: same key, other weights."""
    assert run("shuffled_weights").code == 0
    before = by_method(tmp_path)
    place = store(tmp_path)
    compact = before["compact"]
    table = place.run_dir(compact.key) / "steps.parquet"
    steps = pd.read_parquet(table)
    steps["teacher_weight"] = steps["teacher_weight"].to_numpy()[::-1]
    steps.to_parquet(table)
    done = run("constant_weights")
    assert done.code == 0, done.err
    assert "steps.parquet is damaged" in done.err and "2 of 2 runs to do" in done.err
    assert by_method(tmp_path)["compact"].weights == compact.weights
    other = replace(compact, files={**compact.files, "steps.parquet": "0" * 64})
    place.save(compact.key, other)
    session_says = run("shuffled_weights", "--seeds", "1")
    assert "2 of 2 runs to do" in session_says.err, "the record names a table that is not there"
    assert by_method(tmp_path)["shuffled_weights"].weights == before["shuffled_weights"].weights


def test_a_file_of_a_user_may_require_a_run(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        '"""Mine."""\n'
        "from dataclasses import dataclass\n"
        "from compact_bench import MethodCard, RequiredMethod, SupervisedConfig, train\n\n\n"
        "class MineConfig(SupervisedConfig):\n"
        '    """Settings.\n\n    Attributes:\n        teacher_run: whose run is read.\n    """\n\n'
        '    teacher_run: RequiredMethod = "uniform"\n\n\n'
        "@dataclass(frozen=True)\n"
        "class Mine:\n"
        '    """Mine."""\n\n    config: MineConfig\n    config_type = MineConfig\n'
        '    card = MethodCard(title="Mine", source="mine")\n\n'
        "    def fit(self, student, questions, context):\n"
        "        steps = context.required['teacher_run'].steps()\n"
        "        assert set(steps['question_id']) == {q.id for q in questions}\n"
        "        return train(student, questions, self.config.objective(context), context)\n\n\n"
        "METHOD = Mine\n"
    )
    done = run(str(tmp_path / "mine.py"))
    assert done.code == 0, done.err
    assert set(by_method(tmp_path)) == {"uniform", "mine"}
    use_method_files(())


def test_required_keys_follow_rate_and_profile(session: Callable[..., Session]) -> None:
    from compact_bench.results.tuning import trial_key

    one = session()
    key, compact = (only_key(one, name) for name in ("shuffled_weights", "compact"))
    (needed,) = required_keys(one, trial_key(key, 0.25)).values()
    assert needed == trial_key(compact, 0.25)
    section = required_first(plan_method(one, "shuffled_weights"))
    assert [run.key for run in section.runs] == [compact, key]
    with pytest.raises(ConfigError):
        required_keys(one, replace(key, settings={**key.settings, "method": {"of": "no_such"}}))
