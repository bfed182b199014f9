"""`compact-bench sweep`: definitions, plans, clear errors, and a small one for real."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from compact_bench.commands.sweep import _plans, one_section_a_world, sweep_request, sweep_requests
from compact_bench.core.errors import ConfigError, UnknownNameError
from compact_bench.data.suites import load_spec
from compact_bench.results.sweeps.spec import DIALS, load_sweep_spec
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
    name = () if more and not more[0].startswith("-") else ("style",)
    place = ("--suite", suite, "--profile", "smoke", "--workers", "1")
    return run_command(capsys, "sweep", *name, *place, *more)


# ----------------------------------------------------------------------------------------------- definitions


STATEMENT = '[[statements]]\nrow = "uniform"\nexpected = "above"\n'
ROWS = [
    "zero_shot", "uniform", "right_filter", "majority_filter", "constant_weights", "shuffled_weights",
    "compact", "oracle",
]  # fmt: skip


@pytest.mark.parametrize("name", DIALS)
def test_a_packaged_dial_has_the_rows_and_a_margin_beforehand(name: str) -> None:
    assert set(definition_names("sweep")) == set(DIALS)
    spec = load_sweep_spec(name)
    assert spec == load_sweep_spec(f"sweep_{name}") and spec.name == name
    names = [row.name for row in spec.rows]
    assert names == [row for row in ROWS if name != "filters" or row[:8] not in ("constant", "shuffled")]
    assert [row.name for row in spec.rows if not row.rival] == ["zero_shot", "oracle"]
    assert spec.groups == ("in_distribution",) and spec.margin == 0.1 and len(spec.seeds) == 5
    table = spec.as_table()
    assert table.margin == 0.1 and table.bounds == (("zero_shot",), ("uniform",), ("oracle", "right_filter"))
    assert bool(spec.statements) == (name == "filters")


def test_the_dials_move_what_the_world_has_and_begin_at_the_suite_s_own() -> None:
    world = load_spec("lab").training.world
    assert world is not None
    for name in ("style", "right_answer_wrong_step", "shared_mistake", "competence"):
        axis = load_sweep_spec(name).axis
        assert getattr(world, axis.setting) in axis.values, name
    assert load_sweep_spec("error_rate").axis.settings == ("weak_error_rate", "slip_rate")
    filters = load_sweep_spec("filters")
    assert filters.world == {"drawn_styles": 1.0, "shared_mistake": 0.0} and filters.axis.values[0] == 0.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('reference = "compact"', 'reference = "compat"'), "expected one of the rows"),
        (('group = "in_distribution"', ""), "expected either group or measure"),
        (('measure = "weight_on_right"', 'measure = "weight_on"'), "measure of table 2"),
        (('name = "right_filter"', 'name = "compact"'), "row given twice: compact"),
        (('["uniform"], ["oracle"', '["uniform"], ["orakel"'), "bounds: no row is called orakel"),
        (("margin = 0.1", ""), "`margin` beside them"),
        (('short = "drawn', 'also = ["drawn_styles"]\nshort = "drawn'), "expected every setting once"),
        (("[axis]", f'{STATEMENT}against = "x"\nat = 0\n[axis]'), "called x"),
        (("[axis]", f'{STATEMENT}against = "compact"\n[axis]'), "`at` with above"),
        (('name = "style"', 'name = "style"\nextends = "styl"'), "Did you mean 'style'"),
        (('name = "style"', 'name = "style"\nextends = 3'), "extends: expected the name of a sweep"),
        (("[axis]", "[axis"), "expected TOML"),
    ],
)
def test_a_wrong_definition_is_refused_with_the_reason(
    change: tuple[str, str], message: str, tmp_path: Path
) -> None:
    packaged = Path(__file__).parents[3] / "paper_tables" / "sweep_style.toml"
    text = packaged.read_text(encoding="utf-8")
    assert change[0] in text
    (tmp_path / "mine.toml").write_text(text.replace(*change), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_sweep_spec(str(tmp_path / "mine.toml"))


def test_what_is_not_asked_for_comes_from_the_definition(suite: Path, tmp_path: Path) -> None:
    plain = Request(suite=str(suite), profile="smoke", cache=tmp_path, store=tmp_path)
    request = sweep_request("style", plain, values=(0.8, 0.2, 0.8))
    assert request.spec.axis.values == (0.2, 0.8)
    assert request.request.seeds == request.spec.seeds == (1, 2, 3, 4, 5)
    words = f"compact-bench sweep style --suite {suite} --profile smoke --values 0.2,0.8"
    words += " --seeds 1,2,3,4,5"
    assert request.command == words
    with pytest.raises(UnknownNameError, match="Did you mean 'compact'"):
        sweep_request("style", plain, rows=("compakt",))


# ------------------------------------------------------------------------------------------------ the command


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("styl",), "Did you mean 'style'"),
        (("style,competenz",), "Did you mean 'competence'"),
        (("style,style",), "expected every sweep once, got style, style"),
        (("style,competence", "--values", "0"), "--values: expected one sweep with them, got style"),
        (("all", "--methods", "compact,weird"), "unknown row of the sweeps style"),
        (("style,filters", "--methods", "constant_weights"), "expected a row of sweep filters"),
        (("--values", "0,half"), "--values: expected numbers as 0,0.2,0.4, got 'half'"),
        (("--values", "0,1.5"), "drawn_styles"),
        (("--methods", "uniform,weird"), "unknown row of sweep 'style' 'weird'"),
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
    assert "with a world whose 'drawn_styles' can be set" in done.err and "--suite lab" in done.err


def test_a_small_sweep_and_again(suite: Path, home: Path, capsys: Capture) -> None:
    words = ("--values", "0,1", "--seeds", "1", "--methods", "zero_shot,uniform,compact", "--output", "out")
    planned = sweep(capsys, suite, *words, "--dry-run")
    assert planned.code == 0 and "6 of 6 runs to do" in planned.err and not (home / "out").exists()
    assert "drawn_styles 1: COMPACT" in planned.err
    done = sweep(capsys, suite, *words)
    assert done.code == 0, done.err
    records = Store(home / "store").records()
    assert {(r.key.method, r.key.variant) for r in records} == {
        ("zero_shot", ""),
        ("uniform", ""),
        ("compact", ""),
    }
    assert len({r.key.suite_fingerprint for r in records}) == 2 and len(records) == 6
    assert {tuple(r.evaluations) for r in records} == {("lab_ring",)}, "no other group is evaluated"
    worlds = {w for r in records for w in r.provenance["request"]["world"]}
    assert worlds == {"drawn_styles=0", "drawn_styles=1"}
    files = {path.name: path.read_bytes() for path in (home / "out").iterdir()}
    assert set(files) == {"SWEEP.md"} | {f"sweep_style.{end}" for end in ("csv", "json", "png", "svg")}
    again = sweep(capsys, suite, *words)
    assert again.code == 0 and "nothing to run" in again.err
    assert {path.name: path.read_bytes() for path in (home / "out").iterdir()} == files
    more = sweep(capsys, suite, *words, "--values", "0,0.5,1", "--dry-run")
    assert "3 of 9 runs to do" in more.err, "more values add only their own runs"


def test_the_values_share_one_base_student_but_not_their_data(suite: Path, home: Path) -> None:
    plain = Request(suite=str(suite), profile="smoke", cache=home / "cache", store=home / "store")
    low, high = (Session(replace(plain, world=(f"drawn_styles={rate}",))) for rate in (0.0, 1.0))
    assert low.base is high.base
    assert low.suite_fingerprint != high.suite_fingerprint


# --------------------------------------------------------------------------------------------- several sweeps


def runs(folder: Path) -> set[str]:
    return {r.key.hash for r in Store(folder).records()}


def written(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}


def test_sweeps_together_share_the_runs_of_one_world(suite: Path, home: Path, capsys: Capture) -> None:
    words: tuple[str, ...] = ("style,competence", "--seeds", "1", "--output", "out")
    words += ("--methods", "uniform,constant_weights,compact")
    planned = sweep(capsys, suite, *words, "--dry-run")
    # Five values and four, of which one is the suite's own in both; three rows each.
    assert planned.code == 0 and "24 of 24 runs to do, about" in planned.err
    world = load_spec(str(suite)).training.world
    assert world is not None
    both = f"style {world.drawn_styles:g}, competence {world.competence:g}: COMPACT"
    assert both in planned.err
    done = sweep(capsys, suite, *words)
    assert done.code == 0, done.err
    assert len(runs(home / "store")) == 24
    files = written(home / "out")
    own = {f"{n}/sweep_{n}.{end}" for n in ("style", "competence") for end in ("csv", "json", "png", "svg")}
    own |= {"style/SWEEP.md", "competence/SWEEP.md"}
    assert set(files) == own | {"FINDINGS.md", "findings.png", "findings.svg", "findings.csv"}
    again = sweep(capsys, suite, *words)
    assert again.code == 0 and "All 24 runs are in the store; nothing to run." in again.err
    assert files == written(home / "out")
    page = files["FINDINGS.md"].decode()
    assert "compact-bench sweep style,competence --suite" in page and "24 done" in page
    one = sweep(capsys, suite, "competence", *words[1:])
    assert one.code == 0 and "nothing to run" in one.err, "together or alone, keys are the same"


SECOND = (
    "drawn_styles=1",
    "right_answer_wrong_step_rate=0.15",
    "shared_mistake=0.3",
    "weak_error_rate=0.95",
    "slip_rate=0.95",
)


@pytest.mark.parametrize("changes", [(), SECOND])
def test_the_suite_s_own_world_has_equal_keys_in_every_sweep(
    changes: tuple[str, ...], suite: Path, home: Path
) -> None:
    place = {"cache": home / "cache", "store": home / "store"}
    plain = Request(suite=str(suite), profile="smoke", seeds=(1,), world=changes, **place)  # type: ignore[arg-type]
    requests = sweep_requests(["all"], plain)
    assert [r.spec.name for r in requests] == list(DIALS)
    plans = {r.spec.name: _plans(r) for r in requests}
    world = Session(plain).spec.training.world
    own = {
        name: [run.key.hash for run in plan.section().runs]
        for name, some in plans.items()
        for plan in some.values()
        if plan.session.spec.training.world == world
    }
    assert set(DIALS[:5] if changes else DIALS[:4]) <= set(own) and len(own["style"]) == 8
    assert len({tuple(own[name]) for name in DIALS[:5] if name in own}) == 1
    listed = [
        (f"{name} {value}", plan.section()) for name, some in plans.items() for value, plan in some.items()
    ]
    merged = one_section_a_world(listed)
    names = [run.key.hash for section in merged for run in section.runs]
    assert len(names) == len(set(names)) < sum(len(section.runs) for _, section in listed)


def test_a_sweep_holds_other_settings_fixed_and_moves_several_as_one(suite: Path, home: Path) -> None:
    plain = Request(suite=str(suite), profile="smoke", cache=home / "cache", store=home / "store", seeds=(1,))
    plan = _plans(sweep_request("filters", plain))[0.3]
    world = plan.session.spec.training.world
    assert world is not None
    assert (world.drawn_styles, world.shared_mistake, world.right_answer_wrong_step_rate) == (1.0, 0.0, 0.3)
    world = _plans(sweep_request("error_rate", plain))[0.55].session.spec.training.world
    assert world is not None and world.weak_error_rate == world.slip_rate == 0.55


def test_sweeps_of_two_suites_are_no_page(suite: Path, home: Path, capsys: Capture) -> None:
    (home / "other.toml").write_text(f'extends = "style"\nname = "other"\nsuite = {json.dumps(str(suite))}\n')
    done = run_command(capsys, "sweep", "style,other.toml", "--profile", "smoke", "--dry-run")
    assert done.code == 2 and "expected sweeps of one suite" in done.err


@pytest.mark.slow
def test_a_sweep_by_two_workers_has_the_same_numbers(suite: Path, home: Path, capsys: Capture) -> None:
    words = ("--values", "0,0.5,1", "--seeds", "1,2", "--methods", "uniform,compact", "--output")
    assert sweep(capsys, suite, *words, "one", "--store", "first").code == 0
    done = sweep(capsys, suite, *words, "two", "--store", "second", "--workers", "2")
    assert done.code == 0 and "by 2 workers, 1 thread(s) each" in done.err
    for name in ("csv", "json", "png", "svg"):
        file = f"sweep_style.{name}"
        assert (home / "one" / file).read_bytes() == (home / "two" / file).read_bytes(), name
    weights = [{r.weights["final"] for r in Store(home / store).records()} for store in ("first", "second")]
    assert weights[0] == weights[1] and len(weights[0]) == 12
