"""Rows for methods that a table has none of: other packages', registered variants, broken ones."""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from compact_bench.commands.row_selection import methods_option, request_tables
from compact_bench.core.errors import ConfigError, UnknownNameError
from compact_bench.methods.registry import get_method, method_names
from compact_bench.results.tables.spec import load_table_spec
from compact_bench.runs.store.store import Store
from tests.unit.command import Done, run_command
from tests.unit.plugins import GOOD, TEACHERS_OWN, UNIMPORTABLE, UNWILLING, installed

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def packages(tmp_path: Path, suite: Path) -> Iterator[None]:
    """Four packages: one that works, one that this suite does not suit, two that are broken."""
    (tmp_path / "site").mkdir()
    methods = {"twice": GOOD, "told": TEACHERS_OWN, "unlucky": UNIMPORTABLE, "unwilling": UNWILLING}
    with pytest.MonkeyPatch.context() as patch:
        yield from installed(tmp_path / "site", patch, **methods)


def command(capsys: Capture, suite: Path, word: str, *more: str) -> Done:
    words = ("--threads", "1", "--workers", "1") if word != "report" else ()
    return run_command(capsys, word, *more, "--suite", suite, "--profile", "smoke", *words)


def rows(folder: Path, column: str = "svamp") -> Mapping[str, dict[str, str]]:
    with (folder / "RESULTS.csv").open(newline="", encoding="utf-8") as stream:
        return {row["row"]: row for row in csv.DictReader(stream) if row["column"] == column}


def titles(specs: tuple[str, ...], methods: tuple[str, ...]) -> list[str]:
    (first, *_) = request_tables([load_table_spec(name) for name in specs], methods)
    return [row.title for row in first.unlisted_rows]


def test_all_is_the_tables_rows_and_every_method_without_one(packages: None) -> None:
    (request,) = request_tables([load_table_spec(2)], ("all",))
    listed = {row.method for row in load_table_spec(2).rows}
    unlisted = [row.selector for row in request.unlisted_rows]
    assert unlisted == sorted(set(method_names()) - listed)
    assert {"twice", "told", "unlucky", "unwilling"} <= set(unlisted)
    assert request.selected == {row.selector for row in request.spec.rows}
    assert methods_option([request]) == "all"


def test_names_choose_rows_and_add_those_that_are_missing(packages: None) -> None:
    (request,) = request_tables([load_table_spec(2)], ("uniform", "twice[summed]", "compact[no-consensus]"))
    assert request.selected == {"uniform", "compact[no-consensus]", "twice[summed]"}
    assert [row.title for row in request.unlisted_rows] == [
        "COMPACT (paper) [no-consensus]",
        "Twice [summed]",
    ]
    assert methods_option([request]) == "table,compact[no-consensus],twice[summed]"
    (again,) = request_tables([load_table_spec(2)], ("table", "twice[summed]", "compact[no-consensus]"))
    assert again.spec == request.spec and again.selected == {row.selector for row in again.spec.rows}


def test_claims_are_the_rows_that_claims_are_about(packages: None) -> None:
    (request,) = request_tables([load_table_spec(2)], ("all", "claims"))
    unlisted = {row.selector for row in request.unlisted_rows}
    assert {"sbs_kd[label-only]", "compact[no-difficulty]", "twice"} <= unlisted
    assert request.selected == {row.selector for row in (*request.listed_rows, *request.unlisted_rows)}
    (only,) = request_tables([load_table_spec(2)], ("claims",))
    assert "twice" not in only.selected
    assert {"zero_shot", "uniform", "single_teacher"} <= only.selected
    two, five = request_tables([load_table_spec(2), load_table_spec(5)], ("all", "claims"))
    assert not five.unlisted_rows
    assert "compact[no-difficulty]" not in {row.selector for row in two.unlisted_rows}


def test_a_method_that_is_told_a_teacher_gets_a_row_for_each(packages: None) -> None:
    assert titles(("2",), ("told",)) == ["Told: {variant}"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("twise", "Did you mean 'twice'"), ("twice[sumed]", "Did you mean 'summed'")],
)
def test_a_mistyped_name_is_told(packages: None, name: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=re.escape(message)):
        titles(("2",), (name,))


def test_other_packages_in_a_table_and_in_the_report(
    packages: None, suite: Path, tmp_path: Path, capsys: Capture
) -> None:
    done = command(
        capsys, suite, "reproduce", "--methods", "zero_shot,twice,twice[summed],told,unlucky,unwilling"
    )
    assert done.code == 1, "two of them are broken"
    for broken in ("unlucky", "unwilling"):
        assert len(re.findall(rf"^Warning: .*{broken}-package", done.err, re.MULTILINE)) == 1
    records = Store(tmp_path / "store").records()
    found = {(r.key.method, r.key.variant): r for r in records}
    assert set(found) == {
        ("zero_shot", ""),
        ("twice", ""),
        ("twice", "summed"),
        ("told", "ada"),
        ("told", "bob"),
    }
    assert found["twice", "summed"].key.settings["method"]["reduction"] == "sum"
    made = rows(tmp_path)
    assert list(made)[-7:-1] == ["told[ada]", "told[bob]", "twice", "twice[summed]", "unlucky", "unwilling"]
    assert made["twice"]["mean"] and made["twice"]["low"] and made["twice"]["row_title"] == "Twice"
    assert made["told[ada]"]["reason"] == "unsupported: it needs a violin"
    assert made["unlucky"]["reason"].startswith("failed: method 'unlucky' (entry point of unlucky-package)")
    assert "no such luck" in made["unlucky"]["reason"]
    assert made["unwilling"]["reason"].startswith("failed: method 'unwilling' of unwilling-package: ")
    assert "needed: Field required" in made["unwilling"]["reason"]
    text = (tmp_path / "RESULTS.md").read_text()
    assert "| Twice | 1 | " in text and "Twice [summed]" in (tmp_path / "RESULTS.tex").read_text()
    assert "unlucky-package" in text.split("### What has no result")[1]
    page = (tmp_path / "results" / "comparisons_table_2.md").read_text()
    assert "COMPACT (paper) and Twice" in page
    # What else is in the store changes no table; asked for, what has runs is shown; by name, what has none.
    assert command(capsys, suite, "report").code == 0
    assert not {"twice", "twice[summed]", "told[ada]"} & set(rows(tmp_path))
    assert "twice" not in (tmp_path / "RESULTS.md").read_text().lower()
    assert command(capsys, suite, "report", "--methods", "stored").code == 0
    alone = rows(tmp_path)
    assert alone == {name: row for name, row in made.items() if name not in ("unlucky", "unwilling")}
    assert command(capsys, suite, "report", "--methods", "unlucky,unwilling,stored").code == 0
    assert rows(tmp_path) == made


def test_the_command_of_a_report_makes_the_same_rows(
    packages: None, suite: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert command(capsys, suite, "run", "twice[summed]").code == 0
    assert command(capsys, suite, "report", "--methods", "stored").code == 0
    shown = list(rows(tmp_path))
    assert "twice[summed]" in shown and "twice" not in shown
    (line,) = re.findall(
        r"^compact-bench (reproduce .*)$", (tmp_path / "RESULTS.md").read_text(), re.MULTILINE
    )
    done = run_command(capsys, *shlex.split(line), "--store", tmp_path / "empty", "--dry-run")
    assert done.code == 0 and "Twice [summed]" in done.err
    assert "--methods" in line and "table,twice[summed]" in line


def test_an_error_of_a_packages_own_kind_fails_its_run_only(
    suite: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    text = GOOD.replace("        reduction = ", "        raise Mishap('out of luck')\n        reduction = ")
    methods = {"clumsy": "class Mishap(Exception): ...\n" + text}
    for _ in installed(tmp_path / "site", monkeypatch, **methods):
        done = command(capsys, suite, "reproduce", "--methods", "clumsy,zero_shot")
        assert done.code == 1 and "Traceback" not in done.err
    found = {r.key.method: r for r in Store(tmp_path / "store").records()}
    assert found["zero_shot"].status == "done"
    assert (found["clumsy"].status, found["clumsy"].reason) == ("failed", "Mishap: out of luck")
    assert rows(tmp_path)["clumsy"]["reason"] == "failed: Mishap: out of luck"


def test_a_broken_row_of_the_tables_own_harms_only_itself(
    packages: None, suite: Path, tmp_path: Path, capsys: Capture
) -> None:
    text = Path(load_file("2")).read_text().replace('method = "oracle"', 'method = "unlucky"')
    mine = tmp_path / "mine.toml"
    mine.write_text(text.replace('"oracle"', '"unlucky"').replace('requires = "truth"\n', "", 1))
    done = command(capsys, suite, "reproduce", "--table", str(mine), "--methods", "zero_shot,unlucky")
    assert done.code == 1 and "unlucky-package" in done.err
    assert "no such luck" in rows(tmp_path)["unlucky"]["reason"] and rows(tmp_path)["zero_shot"]["mean"]


def load_file(name: str) -> str:
    from compact_bench.results.tables.spec import definition_file

    return str(definition_file("table", name))


def test_run_of_a_variant(packages: None, suite: Path, tmp_path: Path, capsys: Capture) -> None:
    assert command(capsys, suite, "run", "compact[no-consensus]").code == 0
    (record,) = Store(tmp_path / "store").records()
    assert (record.key.method, record.key.variant) == ("compact", "no-consensus")
    assert record.key.settings["method"]["beta_consensus"] == 0.0
    wrong = command(capsys, suite, "run", "compact[no-consenus]")
    assert wrong.code == 2 and "Did you mean 'no-consensus'" in wrong.err


def test_list_and_show_tell_variants_origins_and_what_is_broken(
    packages: None, suite: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    listed = run_command(capsys, "list", "methods")
    lines = {line.split()[1]: line for line in listed.out.splitlines() if line.startswith("│ ")}
    assert listed.code == 0
    for name in ("twice", "unlucky"):
        assert f"{name}-package" in lines[name] and f"see show {name}, which imports it" in lines[name]
    assert "gold answers" in lines["compact"]
    shown = run_command(capsys, "show", "twice[summed]")
    assert shown.code == 0
    for text in (
        "variant summed sets",
        "method.reduction",
        "twice-package",
        "twice[summed]",
        "reduction=sum",
    ):
        assert text in shown.out
    assert "Did you mean 'summed'" in run_command(capsys, "show", "twice[sumed]").err
    broken = run_command(capsys, "show", "unlucky")
    assert broken.code == 2 and "unlucky-package" in broken.err
    assert run_command(capsys, "show", "settings").code == 0, "a broken method hides no other's settings"


def test_a_long_plan_lists_only_what_is_to_do(
    packages: None, suite: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert command(capsys, suite, "run", "zero_shot").code == 0
    plan = command(capsys, suite, "reproduce", "--table", "5,2", "--dry-run")
    assert plan.code == 0 and "1 row(s) that have all their runs" in plan.err
    found = re.search(r"(\d+) of (\d+) runs to do", plan.err)
    assert "Zero-shot" not in plan.err and found and int(found[1]) == int(found[2]) - 1 > 30
    short = command(capsys, suite, "reproduce", "--table", "2", "--dry-run")
    assert "Zero-shot" in short.err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("METHOD:", "METHOD:\n    raise SystemExit(3)", "cannot be imported: SystemExit: 3"),
        ("card = MethodCard(", "card = dict(", "expected card to be a MethodCard"),
        ("config_type = Config", "config_type = dict", "expected config_type to be a subclass of Strict"),
        ("variants = {", "variants = 1 or {", "expected variants to be a mapping"),
    ],
)
def test_a_broken_method_is_told_by_its_package_whatever_is_broken(
    old: str, new: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert old in GOOD
    name = f"odd_{len(message)}"
    for _ in installed(tmp_path, monkeypatch, **{name: GOOD.replace(old, new)}):
        (request,) = request_tables([load_table_spec(2)], (name,))
        assert [row.title for row in request.unlisted_rows] == [name]
        with pytest.raises(ConfigError, match=message) as caught:
            get_method(name)
        assert f"{name}-package" in str(caught.value) or f"{name}_package" in str(caught.value)
