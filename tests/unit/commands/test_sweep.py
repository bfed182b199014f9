"""`compact-bench sweep`: definitions, plans, clear errors, and a small one for real."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compact_bench.commands.sweep import sweep_request
from compact_bench.core.errors import ConfigError, UnknownNameError
from compact_bench.methods.registry import get_method
from compact_bench.results.sweeps.spec import load_sweep_spec
from compact_bench.results.tables.spec import definition_names
from compact_bench.runs.session import Request, Session
from compact_bench.runs.store.store import Store
from tests.tiny_suite import make_tiny_lab_student, write_tiny_lab, write_tiny_suite
from tests.unit.command import Done, run_command

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab")
    return write_tiny_lab(folder, str(make_tiny_lab_student(folder / "student")))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("cache", "store"):
            patch.setenv(f"COMPACT_BENCH_{name.upper()}", str(tmp_path / name))
        patch.setenv("COMPACT_BENCH_OFFLINE", "1")
        patch.chdir(tmp_path)
        yield tmp_path


def sweep(capsys: Capture, suite: Path, *more: str) -> Done:
    return run_command(capsys, "sweep", "--suite", suite, "--profile", "smoke", "--workers", "1", *more)


# ----------------------------------------------------------------------------------------------- definitions


def test_the_packaged_sweep_varies_the_slipping_teacher() -> None:
    assert "error_rate" in definition_names("sweep")
    spec = load_sweep_spec("error_rate")
    assert spec == load_sweep_spec("sweep_error_rate")
    assert spec.axis.setting == "slip_rate" and spec.axis.values == (0.0, 0.2, 0.4, 0.6, 0.8)
    assert spec.groups == ("in_distribution",)
    usual = spec.choose(())
    assert [row.name for row in usual.rows] == [
        "uniform",
        "compact",
        "consensus",
        "adaptability",
        "difficulty",
    ]
    assert [row.name for row in spec.choose(("oracle", "uniform")).rows] == ["uniform", "oracle"]


@pytest.mark.parametrize("kept", ["consensus", "adaptability", "difficulty"])
def test_a_single_score_variant_is_compact_with_the_other_scores_off(kept: str) -> None:
    row = next(row for row in load_sweep_spec("error_rate").rows if row.name == kept)
    config: Any = get_method(row.method).config_type.model_validate(row.settings["method"])
    usual: Any = get_method("compact").config_type()
    for score in ("consensus", "adaptability", "difficulty"):
        value = getattr(config, f"beta_{score}")
        assert value == (getattr(usual, f"beta_{score}") if score == kept else 0.0)
    assert config.lambda_consistency == usual.lambda_consistency
    assert (row.as_table_row.variant_suffix, row.method) == (kept, "compact")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('reference = "compact"', 'reference = "compat"'), "expected one of the rows"),
        (('group = "in_distribution"', ""), "expected either group or measure"),
        (('measure = "weight_on_right"', 'measure = "weight_on"'), "measure of table 2"),
        (('name = "consensus"', 'name = "compact"'), "row given twice: compact"),
        (("[axis]", "[axis"), "expected TOML"),
    ],
)
def test_a_wrong_definition_is_refused_with_the_reason(
    change: tuple[str, str], message: str, tmp_path: Path
) -> None:
    packaged = Path(__file__).parents[3] / "paper_tables" / "sweep_error_rate.toml"
    text = packaged.read_text(encoding="utf-8")
    assert change[0] in text
    (tmp_path / "mine.toml").write_text(text.replace(*change), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_sweep_spec(str(tmp_path / "mine.toml"))


def test_what_is_not_asked_for_comes_from_the_definition(suite: Path, tmp_path: Path) -> None:
    plain = Request(suite=str(suite), profile="smoke", cache=tmp_path, store=tmp_path)
    request = sweep_request("error_rate", plain, values=(0.8, 0.2, 0.8))
    assert request.spec.axis.values == (0.2, 0.8) and request.request.seeds == request.spec.seeds == (1, 2)
    words = f"compact-bench sweep error_rate --suite {suite} --profile smoke --values 0.2,0.8 --seeds 1,2"
    assert request.command == words
    with pytest.raises(UnknownNameError, match="Did you mean 'compact'"):
        sweep_request("error_rate", plain, rows=("compakt",))


# ------------------------------------------------------------------------------------------------ the command


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("eror_rate",), "Did you mean 'error_rate'"),
        (("--values", "0,half"), "--values: expected numbers as 0,0.2,0.4, got 'half'"),
        (("--values", "0,1.5"), "slip_rate"),
        (("--methods", "uniform,weird"), "unknown row of sweep 'error_rate' 'weird'"),
    ],
)
def test_mistakes_get_one_clear_message(
    words: tuple[str, ...], message: str, suite: Path, home: Path, capsys: Capture
) -> None:
    done = sweep(capsys, suite, *words)
    assert done.code == 2 and message in done.err and "Traceback" not in done.err
    assert not (home / "store").exists()


def test_a_suite_without_a_world_cannot_be_swept(home: Path, capsys: Capture) -> None:
    suite = write_tiny_suite(home / "suite", "nowhere")
    done = sweep(capsys, suite)
    assert done.code == 2
    assert (
        "expected a suite with a world whose 'slip_rate' can be set" in done.err and "--suite lab" in done.err
    )


def test_a_small_sweep_and_again(suite: Path, home: Path, capsys: Capture) -> None:
    words = ("--values", "0,1", "--seeds", "1", "--methods", "uniform,consensus", "--output", "out")
    planned = sweep(capsys, suite, *words, "--dry-run")
    assert planned.code == 0 and "4 of 4 runs to do" in planned.err and not (home / "out").exists()
    assert "slip_rate 1: Consensus only" in planned.err
    done = sweep(capsys, suite, *words)
    assert done.code == 0, done.err
    records = Store(home / "store").records()
    assert {(r.key.method, r.key.variant) for r in records} == {
        ("uniform", ""),
        ("compact", "consensus"),
    }
    assert len({r.key.suite_fingerprint for r in records}) == 2 and len(records) == 4
    assert {tuple(r.evaluations) for r in records} == {("lab_ring",)}, "no other group is evaluated"
    assert {w for r in records for w in r.provenance["request"]["world"]} == {"slip_rate=0", "slip_rate=1"}
    files = {path.name: path.read_bytes() for path in (home / "out").iterdir()}
    assert set(files) == {"SWEEP.md"} | {f"sweep_error_rate.{end}" for end in ("csv", "json", "png", "svg")}
    again = sweep(capsys, suite, *words)
    assert again.code == 0 and "nothing to run" in again.err
    assert {path.name: path.read_bytes() for path in (home / "out").iterdir()} == files
    more = sweep(capsys, suite, *words, "--values", "0,0.5,1", "--dry-run")
    assert "2 of 6 runs to do" in more.err, "more values add only their own runs"


def test_the_values_share_one_base_student_but_not_their_data(suite: Path, home: Path) -> None:
    plain = Request(suite=str(suite), profile="smoke", cache=home / "cache", store=home / "store")
    low, high = (Session(replace(plain, world=(f"slip_rate={rate}",))) for rate in (0.0, 1.0))
    assert low.base is high.base
    assert low.suite_fingerprint != high.suite_fingerprint


@pytest.mark.slow
def test_a_sweep_by_two_workers_has_the_same_numbers(suite: Path, home: Path, capsys: Capture) -> None:
    words = ("--values", "0,0.5,1", "--seeds", "1,2", "--methods", "uniform,compact", "--output")
    assert sweep(capsys, suite, *words, "one", "--store", "first").code == 0
    done = sweep(capsys, suite, *words, "two", "--store", "second", "--workers", "2")
    assert done.code == 0 and "by 2 workers, 1 thread(s) each" in done.err
    for name in ("csv", "json", "png", "svg"):
        file = f"sweep_error_rate.{name}"
        assert (home / "one" / file).read_bytes() == (home / "two" / file).read_bytes(), name
    weights = [{r.weights["final"] for r in Store(home / store).records()} for store in ("first", "second")]
    assert weights[0] == weights[1] and len(weights[0]) == 12
