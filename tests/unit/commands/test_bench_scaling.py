"""`bench scaling`: fits of known growth, axes, points that are skipped, tables and pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compact_bench.commands.bench.contenders.contenders import choose_contenders
from compact_bench.commands.bench.contenders.runners import Turn
from compact_bench.commands.bench.contenders.stepping import open_student
from compact_bench.commands.bench.contenders.work import synthetic_work
from compact_bench.commands.bench.measuring.fits import fit_growth
from compact_bench.commands.bench.reports.scaling import growth_sentences, scaling_drawings, scaling_markdown
from compact_bench.commands.bench.scaling import AXES, Scale, ScalingResult, bench_scaling, parse_axes
from compact_bench.commands.bench.settings import StepSettings
from compact_bench.core.errors import ConfigError
from compact_bench.core.progress import PlainDisplay
from compact_bench.students.student import Student
from tests.unit.bench_runner import LocalRunner, quick_ceiling
from tests.unit.command import run_command

__all__ = ["quick_ceiling"]

X = (2, 4, 8, 16)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("constant", [0.0, 40.0])
def test_a_power_above_a_constant_is_found(power: float, constant: float) -> None:
    found = fit_growth(X, [constant + 3.0 * x**power for x in X])
    assert found is not None and found.exponent == pytest.approx(power, abs=0.01)
    assert found.constant == pytest.approx(constant, abs=0.5)
    if power == 1.0:
        assert (found.slope, found.intercept) == (pytest.approx(3.0), pytest.approx(constant, abs=1e-9))
    assert (found.r_squared > 1.0 - 1e-9) == (power == 1.0)


def test_what_does_not_grow_lies_on_its_line() -> None:
    found = fit_growth(X, [5.0] * 4)
    assert found is not None and found.r_squared == 1.0 and found.slope == pytest.approx(0.0, abs=1e-9)
    assert found.constant is not None and found.constant <= 5.0 + 1e-6


def test_few_points_have_no_fit() -> None:
    assert fit_growth((1, 2), (1.0, 2.0)) is None
    found = fit_growth((1, 2, 3), (2.0, 3.0, 4.0))
    assert found is not None and found.slope == pytest.approx(1.0) and found.exponent is None


def test_axes_are_read() -> None:
    assert parse_axes([]) == AXES
    assert parse_axes(["teachers=2,3, 9", "rationale_tokens"]) == {
        "teachers": (2, 3, 9),
        "rationale_tokens": AXES["rationale_tokens"],
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("teacher=2,4", "Did you mean 'teachers'"),
        ("teachers=4,2", "ascending whole numbers"),
        ("teachers=4", "at least two"),
        ("teachers=2,four", "whole numbers"),
        ("teachers=", "whole numbers"),
        ("teachers=0,1", "whole numbers"),
    ],
)
def test_a_wrong_axis_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_axes([text])


class FrailRunner(LocalRunner):
    """Dies of the released algorithm with more than two teachers."""

    def turn(self, name: str) -> Turn:
        prepared = self._prepared[name]
        if prepared.contender.name == "released" and self._teachers[name] > 2:
            raise ConfigError("a process that makes steps was ended by SIGKILL")
        return super().turn(name)

    def prepare(self, name: str, contender: Any, work: Any) -> None:
        self._teachers = {**getattr(self, "_teachers", {}), name: len(work.questions[0].rationales)}
        super().prepare(name, contender, work)


def measured(student: Student, settings: StepSettings, runner: Any, **axes: tuple[int, ...]) -> ScalingResult:
    return bench_scaling(
        student,
        lambda scale: synthetic_work(
            student.tokenizer,
            teachers=scale.teachers,
            count=scale.questions_per_step,
            rationale_tokens=scale.rationale_tokens,
        ),
        settings,
        choose_contenders(["ours", "released"]),
        axes,
        PlainDisplay(lambda line: None, quiet=True),
        base=Scale(teachers=2, rationale_tokens=20),
        repeats=2,
        open_runner=runner,
    )


@pytest.fixture(scope="module")
def result(student_folder: Callable[..., Path]) -> ScalingResult:
    settings = StepSettings(student=str(student_folder("llama", "chatml")), device="cpu")
    student = open_student(settings)
    return measured(student, settings, FrailRunner, teachers=(1, 2, 3, 4), questions_per_step=(1, 2))


def test_every_point_is_measured_or_says_why_not(result: ScalingResult) -> None:
    teachers, questions = result.axes
    assert [p.value for p in teachers.points] == [1, 2, 3, 4]
    assert [p.work.teachers for p in teachers.points] == [1, 2, 3, 4]
    assert [len(p.work.prompt_tokens) for p in questions.points] == [1, 2]
    for point in teachers.points:
        names = [c.name for c in point.contenders]
        assert names == (["ours", "released"] if point.value <= 2 else ["ours"])
        assert ("SIGKILL" in point.skipped.get("released", "")) == (point.value > 2)
        for one in point.contenders:
            assert len(one.samples_seconds) == 2 and one.memory.peak_bytes > 0
    assert set(teachers.time) == set(teachers.memory) == {"ours"}
    assert questions.time == {}
    assert len(teachers.ceiling.samples_square) == 2


def test_a_result_reads_back_as_it_was(result: ScalingResult) -> None:
    assert ScalingResult.model_validate_json(result.model_dump_json()) == result


def test_tables_sentences_and_pictures(result: ScalingResult) -> None:
    text = scaling_markdown(result)
    lines = text.splitlines()
    assert "## By teachers K" in lines and "## By questions of a step" in lines
    last = next(line for line in lines if line.startswith("| 4 |"))
    assert last.rstrip().endswith("| - | - | - |")
    sentences = growth_sentences(result.axes[0])
    assert any(s.startswith("ours, time:") and "R² of the line" in s and "power" in s for s in sentences)
    assert "released at 3: not measured, a process that makes steps was ended by SIGKILL" in sentences
    drawings = scaling_drawings(result)
    assert set(drawings) == {"bench_scaling_teachers", "bench_scaling_questions_per_step"}
    assert all(d.png.startswith(b"\x89PNG") and b"<svg" in d.svg for d in drawings.values())


def test_what_memory_is_too_little_for_is_skipped(
    student_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = StepSettings(student=str(student_folder("llama", "chatml")), device="cpu")
    student = open_student(settings)
    needs = iter([1.0, 1.0, 1.0, 9e9])
    monkeypatch.setattr(
        "compact_bench.commands.bench.measuring.need.needed_bytes", lambda *given: next(needs)
    )
    monkeypatch.setattr("compact_bench.commands.bench.measuring.need.available_memory_bytes", lambda: 10**9)
    found = measured(student, settings, LocalRunner, teachers=(1, 2))
    assert found.axes[0].points[1].skipped == {"released": "needs about 8.4 GiB, 0.9 GiB are free"}
    assert [c.name for c in found.axes[0].points[1].contenders] == ["ours"]


def test_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = {**(bench_scaling.__kwdefaults__ or {}), "open_runner": LocalRunner}
    monkeypatch.setattr(bench_scaling, "__kwdefaults__", defaults)
    words = ["bench", "scaling", "--synthetic", "--axis", "teachers=1,2,3", "--rationale-tokens", "10"]
    words += [
        "--contenders",
        "ours",
        "--repeats",
        "1",
        "--offline",
        "--device",
        "cpu",
        "--output",
        str(tmp_path),
    ]
    done = run_command(capsys, *words)
    assert done.code == 0, done.err
    assert "ours, peak memory:" in done.out
    names = ["json", "md"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        [f"bench_scaling.{n}" for n in names] + [f"bench_scaling_teachers.{n}" for n in ("png", "svg")]
    )
    found = ScalingResult.model_validate_json((tmp_path / "bench_scaling.json").read_text())
    assert found.base.rationale_tokens == 10 and [p.value for p in found.axes[0].points] == [1, 2, 3]
    wrong = run_command(capsys, "bench", "scaling", "--synthetic", "--axis", "teecher=1,2")
    assert wrong.code == 2 and "Did you mean 'teachers'" in wrong.err
