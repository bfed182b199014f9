"""Tables from made-up records: rows, cells, selection, comparisons and the words used for them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from compact_bench.core.errors import ConfigError, UnknownNameError
from compact_bench.core.records import RunRecord
from compact_bench.core.settings import validated as validated_spec
from compact_bench.results.tables.build import Table, build_table
from compact_bench.results.tables.rows import choose_teacher
from compact_bench.results.tables.spec import TableSpec, load_table_spec, table_names
from tests.unit.synthetic import SUITE, TEACHERS, all_records, evaluation, key, record, validated

SPEC = load_table_spec(2)


def build(records: list[RunRecord], **more: Any) -> Table:
    return build_table(SPEC, records, SUITE, **{"teachers": TEACHERS, **more})


def with_evaluations(run: RunRecord, **scores: list[float]) -> RunRecord:
    changed = {task: evaluation(task, values) for task, values in scores.items()}
    return dataclasses.replace(run, evaluations={**run.evaluations, **changed})


def test_every_row_has_a_cell_in_every_column() -> None:
    table = build(all_records())
    names = [row.name for row in table.rows]
    assert names == [
        "chance",
        "majority",
        "zero_shot",
        "single_teacher[alpha]",
        "single_teacher[beta]",
        "best single_teacher",
        "sbs_kd",
        "mcc_kd",
        "edit",
        "mot",
        "committee",
        "right_filter",
        "majority_filter",
        "uniform",
        "compact",
        "constant_weights",
        "shuffled_weights",
        "compact_released",
        "paper_1",
    ]
    assert set(table.cells) == {(row, column.name) for row in names for column in table.columns}
    groups = [group.name for group in table.groups]
    assert groups == ["in_distribution", "out_of_distribution", "retention", "drift", "graded", "training"]
    assert all(cell.reason or cell.mean is not None for cell in table.cells.values())


def test_a_cell_holds_mean_interval_seeds_and_items() -> None:
    runs = [with_evaluations(record("compact", seed=s), svamp=[1.0, 0.0, 0.0, float(s > 1)]) for s in (1, 2)]
    cell = build(runs).cells["compact", "svamp"]
    assert cell.mean == pytest.approx(0.375)
    assert cell.seed_sd == pytest.approx(0.25 / 2**0.5)
    assert (cell.seeds, cell.items) == (2, 4)
    assert cell.low is not None and cell.high is not None
    assert cell.low < 0.375 < cell.high


def test_items_are_matched_by_id_whatever_their_order() -> None:
    first, second = record("compact", seed=1), record("compact", seed=2)
    a = evaluation("svamp", [1.0, 0.0], ["svamp/x", "svamp/y"])
    b = evaluation("svamp", [0.0, 1.0], ["svamp/y", "svamp/x"])
    runs = [
        dataclasses.replace(first, evaluations={"svamp": a}),
        dataclasses.replace(second, evaluations={"svamp": b}),
    ]
    cell = build(runs).cells["compact", "svamp"]
    assert (cell.mean, cell.seed_sd, cell.items) == (0.5, 0.0, 2)


def test_an_item_of_two_tasks_is_counted_once_in_the_mean() -> None:
    run = record("compact")
    changed = {
        "addsub": evaluation("addsub", [1.0, 0.0], ["addsub/p", "addsub/q"]),
        "singleeq": evaluation("singleeq", [1.0, 1.0, 0.0, 0.0], ["singleeq/q", "singleeq/p", "r", "s"]),
    }
    table = build([dataclasses.replace(run, evaluations={**run.evaluations, **changed})])
    assert table.cells["compact", "singleeq"].mean == 0.5
    cell = table.cells["compact", "out_of_distribution_mean"]
    assert cell.items == 4
    assert cell.mean == pytest.approx((0.5 + 0.0) / 2)
    assert any("2 items of singleeq also stand in addsub" in note for note in table.notes)


def test_empty_cells_say_why() -> None:
    failed = record("uniform", status="failed", reason="NumericalError: not finite\nmore lines")
    refused = record("compact_released", status="unsupported", reason="needs ChatML")
    partial = record("compact")
    partial = dataclasses.replace(partial, evaluations={"svamp": partial.evaluations["svamp"]}, probes={})
    table = build([failed, refused, partial])
    reasons = {row: table.cells[row, "piqa"].reason for row in ("zero_shot", "uniform", "compact_released")}
    assert reasons == {
        "zero_shot": "not run",
        "uniform": "failed: NumericalError: not finite",
        "compact_released": "unsupported: needs ChatML",
    }
    assert table.cells["compact", "piqa"].reason == "not measured"
    assert table.cells["compact", "retention_mean"].reason == "no mean: piqa not measured"
    assert table.cells["compact", "drift_nats_per_token"].reason == "not measured"
    assert table.cells["compact", "svamp"].reason == ""
    assert table.cells["best single_teacher", "svamp"].reason == "no teacher run yet"
    blind = build([record("single_teacher", "alpha", probes={})])
    assert blind.cells["best single_teacher", "svamp"].reason == "no validation answers"
    assert table.cells["paper_1", "svamp"].reason == "not available"


def test_a_table_without_any_record_is_still_a_table() -> None:
    table = build([])
    assert table.cells["compact", "svamp"].reason == "not run"
    assert table.comparisons and all(c.effect is None for c in table.comparisons)


def test_failed_and_missing_seeds_are_named() -> None:
    runs = [record("compact", seed=1), record("compact", seed=2, status="failed", reason="boom")]
    table = build(runs, seeds=(1, 2, 3))
    assert table.cells["compact", "svamp"].seeds == 1
    assert "COMPACT (paper): seed 2 failed: boom." in table.notes
    assert "COMPACT (paper): seed 3 not run." in table.notes


def test_one_seed_gives_an_interval_over_items_only() -> None:
    cell = build([record("compact")]).cells["compact", "svamp"]
    assert cell.seed_sd is None
    assert cell.low is not None
    drift = build([record("compact")]).cells["compact", "drift_nats_per_token"]
    assert (drift.mean, drift.low, drift.items) == (0.02, None, 0)


def test_drift_uses_passages_weighted_by_their_tokens() -> None:
    probes = {
        "drift_nats_per_token": (0.1 * 10 + 0.3 * 30) / 40,
        "drift": {"passages": [0.1, 0.3], "passage_tokens": [10, 30]},
        "validation_nats": {
            "after_question": 2.0,
            "question_nats": [1.0, 3.0],
            "rationale_nats": [None, 1.0],
        },
    }
    table = build([record("compact", probes=probes)])
    cell = table.cells["compact", "drift_nats_per_token"]
    assert cell.mean == pytest.approx(0.25)
    assert cell.items == 2
    assert cell.low == pytest.approx(0.1)
    assert cell.high == pytest.approx(0.3)
    assert table.cells["compact", "nats_after_question"].items == 2
    assert table.cells["compact", "nats_after_rationale"].reason == "not measured"


def test_items_whose_mean_is_not_the_number_are_not_resampled() -> None:
    probes = {"drift_nats_per_token": 0.9, "drift": {"passages": [0.1, 0.3], "passage_tokens": [1, 1]}}
    cell = build([record("compact", probes=probes)]).cells["compact", "drift_nats_per_token"]
    assert (cell.mean, cell.low, cell.items) == (0.9, None, 0)


def nats(run: RunRecord, after_question: float, after_rationale: float | None = 1.0) -> RunRecord:
    values = {"after_question": after_question, "after_rationale": after_rationale}
    return dataclasses.replace(run, probes={**run.probes, "validation_nats": values})


def test_the_best_teacher_has_the_highest_generated_accuracy_over_seeds() -> None:
    runs = [
        validated(record("single_teacher", "alpha", 1), 0.5),
        validated(record("single_teacher", "alpha", 2), 0.4),
        validated(record("single_teacher", "beta", 1), 0.85),
        validated(record("single_teacher", "beta", 2), 0.85),
    ]
    table = build(runs)
    best = next(row for row in table.rows if row.name == "best single_teacher")
    assert best.same_as == "single_teacher[beta]"
    assert best.title == "Best single teacher (beta)"
    (note,) = [note for note in table.notes if note.startswith("Best single teacher is beta")]
    assert "40 validation questions, mean over 2 seeds (± standard error): beta 85.0 % ± 5.7; alpha" in note
    assert "40 validation questions are few (200 are wanted)" in note
    for column in table.columns:
        ours, theirs = table.cells[best.name, column.name], table.cells[best.same_as, column.name]
        assert (ours.mean, ours.low, ours.reason) == (theirs.mean, theirs.low, theirs.reason)


def test_a_teacher_of_the_lowest_nats_and_the_worst_answers_is_not_chosen() -> None:
    runs = [
        nats(validated(record("single_teacher", "alpha"), 0.1), 0.5),
        nats(validated(record("single_teacher", "beta"), 0.6), 5.0),
    ]
    titles = {row.title for row in build(runs).rows}
    assert "Best single teacher (beta)" in titles


def test_a_tie_goes_to_the_teacher_with_fewer_tokens_and_the_page_says_so() -> None:
    runs = [
        validated(record("single_teacher", "alpha"), 0.6, tokens=9000, questions=200),
        validated(record("single_teacher", "beta"), 0.595, tokens=4000, questions=200),
    ]
    table = build(runs)
    (note,) = [note for note in table.notes if note.startswith("Best single teacher is beta")]
    assert "alpha is 0.5 pp ± 0.5 higher: a tie within one standard error" in note
    assert "beta (4,000 supervised tokens a run against 9,000)" in note
    assert "are few" not in note


@pytest.mark.parametrize(("profile", "chosen"), [("lite", False), ("smoke", True)])
def test_too_few_questions_choose_no_teacher_but_in_smoke(profile: str, chosen: bool) -> None:
    runs = [
        validated(record("single_teacher", name, key=key("single_teacher", name, profile=profile)), 0.5,
                  questions=12)
        for name in TEACHERS
    ]  # fmt: skip
    table = build(runs, profile=profile)
    cell = table.cells["best single_teacher", "svamp"]
    assert (cell.mean is not None) is chosen
    assert chosen or cell.reason == "not chosen: 12 validation questions, where 25 are the fewest"


def test_what_the_test_items_would_have_chosen_is_told_and_marked() -> None:
    def told(of_alpha: float) -> str:
        runs = [
            with_evaluations(validated(record("single_teacher", name), right), svamp=[score] * 40)
            for name, right, score in (("alpha", 0.1, of_alpha), ("beta", 0.9, 0.5))
        ]
        (note,) = [note for note in build(runs).notes if note.startswith("Not used to choose (†)")]
        return note

    assert "would have chosen Single teacher: alpha" in told(1.0) and "100.0 %" in told(1.0)
    assert "would have chosen the same teacher" in told(0.5), "alpha is no higher than the chosen one"


@pytest.mark.parametrize("scores", [[0.0] * 40, [1.0] * 40, [1.0, 0.0] * 20])
def test_the_test_items_never_enter_the_choice(scores: list[float]) -> None:
    runs = [
        validated(record("single_teacher", name), right) for name, right in (("alpha", 0.2), ("beta", 0.7))
    ]
    runs[0] = with_evaluations(runs[0], svamp=scores, addsub=scores, piqa=scores)
    runs[1] = with_evaluations(runs[1], svamp=[1 - s for s in scores])
    assert "Best single teacher (beta)" in {row.title for row in build(runs).rows}


@pytest.mark.parametrize("name", ["best", "each", "all", "oracle", "compact", "chance"])
def test_a_teacher_called_like_a_row_keeps_its_own_numbers(name: str) -> None:
    runs = [record("compact", rate=0.8), record("uniform")]
    for teacher, right, score in ((name, 0.1, 0.0), ("zoe", 0.9, 1.0)):
        run = validated(record("single_teacher", teacher), right)
        runs.append(with_evaluations(run, svamp=[score] * 40))
    table = build(runs, teachers=(name, "zoe"))
    names = [row.name for row in table.rows]
    assert len(names) == len(set(names))
    assert table.cells[f"single_teacher[{name}]", "svamp"].mean == 0.0
    assert table.cells["single_teacher[zoe]", "svamp"].mean == 1.0
    assert table.cells["best single_teacher", "svamp"].mean == 1.0
    titles = {row.name: row.title for row in table.rows}
    assert titles["best single_teacher"] == "Best single teacher (zoe)"
    # What the table plans against "single_teacher[best]" is against the chosen teacher, always.
    chosen = [c for c in table.comparisons if c.against == "best single_teacher" and c.group == "ID"]
    assert [c.measured[1] for c in chosen if c.row == "compact"] == ["single_teacher[zoe]"]
    own = [c for c in table.comparisons if c.against == f"single_teacher[{name}]" and c.group == "ID"]
    assert own and all(c.measured[1] == f"single_teacher[{name}]" for c in own)


@pytest.mark.parametrize("name", ["chance", "majority", "paper_1"])
def test_a_method_called_like_a_row_of_the_tables_own_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"method '{name}'"):
        build([record(name)])


def test_equal_teachers_go_by_name_and_without_answers_there_is_no_choice() -> None:
    runs = {name: [record("single_teacher", name)] for name in ("beta", "alpha")}
    assert choose_teacher(runs).chosen.name == "alpha"  # type: ignore[union-attr]
    bare = record("single_teacher", "alpha", probes={})
    assert choose_teacher({"alpha": [bare]}) is None
    assert build([bare]).cells["best single_teacher", "svamp"].reason == "no validation answers"


def test_a_table_that_names_a_rule_of_its_own_is_told_the_one_rule() -> None:
    old = {**SPEC.model_dump(), "selection": ["probes.validation_nats.after_question"]}
    with pytest.raises(ConfigError, match=r"selection: expected no such line.*generated answers.*Take it"):
        validated_spec(TableSpec, old, "mine.toml")


def test_chance_and_majority_come_from_the_records() -> None:
    table = build([record("compact")])
    assert table.cells["chance", "piqa"].mean == 0.5
    assert table.cells["majority", "retention_mean"].mean == 0.51
    assert table.cells["chance", "svamp"].reason == "no fixed options"
    assert table.cells["chance", "tokens"].reason == "does not apply"
    given = build([record("compact", probes={"suite_notes": {"piqa": {"chance": 0.25}}})])
    assert given.cells["chance", "piqa"].mean == 0.25
    assert given.cells["majority", "piqa"].mean is None
    turned = build([record("compact", probes={}, provenance={"suite_notes": {"majority": {"piqa": 0.6}}})])
    assert turned.cells["majority", "piqa"].mean == 0.6


def test_equal_token_rows_show_only_where_planned_or_run() -> None:
    title = "Single teacher, equal tokens: alpha"
    assert title not in [row.title for row in build([record("compact")]).rows]
    full = [record("compact", key=key("compact", profile="full"))]
    assert title in [row.title for row in build(full).rows]
    extra = record("single_teacher", "alpha:equal-tokens")
    table = build([extra])
    assert title in [row.title for row in table.rows]
    assert [row.name for row in table.rows].count("single_teacher[alpha]") == 1
    assert table.cells["best single_teacher", "svamp"].mean is None


def test_the_table_of_equal_tokens_runs_at_every_profile_what_table_2_shows_if_it_is_there() -> None:
    shared = {(row.method, row.kind, row.suffix): row for row in load_table_spec("2").rows}
    rows = load_table_spec("tokens").rows
    for row in rows:
        other = shared[row.method, row.kind, row.suffix]
        assert other.model_copy(update={"profiles": ()}) == row, "one run serves both tables"
    assert [row.planned_in("lite", False) for row in rows] == [True] * len(rows)
    assert [row.suffix for row in rows if row.epochs_times_teachers] == [":equal-tokens"]


def test_a_method_without_a_row_gets_one_and_unknown_teachers_too() -> None:
    table = build([record("my_method"), record("single_teacher", "delta")])
    names = [row.name for row in table.rows]
    assert "my_method" in names
    assert "single_teacher[delta]" in names
    assert table.cells["my_method", "svamp"].mean is not None


def test_runs_of_two_settings_or_profiles_are_refused() -> None:
    other = record("compact", key=key("compact", settings={"train": {"epochs": 9}}))
    with pytest.raises(ConfigError, match="expected one run per method, variant and seed"):
        build([record("compact"), other])
    smoke = record("compact", key=key("compact", profile="smoke"))
    with pytest.raises(ConfigError, match="expected runs of one profile, got lite, smoke"):
        build([record("compact"), smoke])
    assert build([record("compact"), smoke], profile="smoke").profile == "smoke"
    assert build([record("compact"), record("compact")]).cells["compact", "svamp"].seeds == 1


def test_smoke_numbers_are_called_meaningless() -> None:
    table = build([record("compact", key=key("compact", profile="smoke"))])
    assert "meaningless" in table.notes[0]
    # Notes are escaped where they are shown: a mark of emphasis would stand there as such.
    assert not any("*" in note for note in table.notes)
    assert "meaningless" not in " ".join(build([record("compact")]).notes)


def test_table_2_is_packaged_and_says_whose_number_it_is() -> None:
    assert "2" in table_names()
    assert load_table_spec("table_2") == load_table_spec("2") == SPEC
    assert "own" in SPEC.numbering
    assert all(not paper.values and paper.version for paper in SPEC.paper)
    with pytest.raises(UnknownNameError, match="unknown table '9'"):
        load_table_spec(9)


def test_a_wrong_definition_lists_every_fault(tmp_path: Any) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('number = "9"\ntitle = 3\nrows = []\nodd = 1\n')
    with pytest.raises(ConfigError) as caught:
        load_table_spec(path)
    assert all(name in str(caught.value) for name in ("mine.toml", "title", "rows", "odd", "reference"))
    path.write_text("number = ")
    with pytest.raises(ConfigError, match="expected TOML"):
        load_table_spec(path)
    with pytest.raises(ConfigError, match="no such file"):
        load_table_spec(tmp_path / "absent.toml")
    data = SPEC.model_dump()
    with pytest.raises(ValueError, match=r"column given twice: .*seconds"):
        groups = [*data["groups"], {**data["groups"][-1], "name": "again"}]
        TableSpec.model_validate({**data, "groups": groups})
