"""Names and cards for the commands `list` and `show`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from compact_bench.commands.inspect.methods import field_pairs, method_card, methods_table, pairs_table
from compact_bench.core.errors import ConfigError, UnknownNameError
from compact_bench.core.progress import duration
from compact_bench.core.records import RESULTS_CHANGES, RESULTS_VERSION, RunRecord, number_at
from compact_bench.core.registry import Source, load_all
from compact_bench.core.settings import SECTIONS
from compact_bench.data.files.formats import FORMATS
from compact_bench.data.suites import SuiteSpec, load_spec, suite_names
from compact_bench.data.suites.reading import suite_sources
from compact_bench.evaluation.answer_formats import ANSWERS
from compact_bench.evaluation.probes.registry import PROBES, measure_columns
from compact_bench.evaluation.task_files import answer_format, task_sources
from compact_bench.methods.code import code_mark
from compact_bench.methods.registry import (
    get_method,
    method_names,
    method_sources,
    split_file,
    use_method_files,
)
from compact_bench.results.report.sections.figures import FIGURES
from compact_bench.results.report.sections.teachers import majority_sentence, teacher_tables
from compact_bench.results.sweeps.spec import SweepSpec, load_sweep_spec
from compact_bench.results.tables.spec import TableSpec, definition_names, load_table_spec
from compact_bench.runs.required import of_another
from compact_bench.runs.store.store import Store

Spec = TypeVar("Spec")


def names_table(kind: str, store: Path) -> Table:
    """The names of one kind, as `list` takes it, with a line about each."""
    makers: dict[str, Callable[[], Table]] = {
        "methods": methods_table,
        "suites": _suites,
        "students": _students,
        "tables": _tables,
        "sweeps": _sweeps,
        "extensions": _extensions,
        "runs": lambda: _runs(store),
    }
    return makers[kind]()


def _suites() -> Table:
    def row(s: SuiteSpec) -> tuple[Any, ...]:
        return s.version, len(s.teachers), ", ".join(s.profiles), s.title

    head = ("suite", "version", "teachers", "profiles", "what it is")
    return _titled("suites", head, _definitions(suite_sources(), load_spec, row, len(head)))


def _students() -> Table:
    from compact_bench.data.lab.student import LAB_STUDENTS
    from compact_bench.students.student import LAB_STUDENT, PACKAGED_STUDENT

    rows = [
        (LAB_STUDENT, "a small Llama that knows the words of the lab's world only; in this package"),
        *((name, "the same, of an earlier version of it") for name in LAB_STUDENTS if name != LAB_STUDENT),
        (
            PACKAGED_STUDENT,
            "SmolLM2-135M-Instruct, dequantised from Q4_1; fetched once from the package index",
        ),
        ("owner/name", "any causal LM of the hub with a chat template and a known layout"),
        ("FOLDER", "any folder that `save_pretrained` wrote"),
    ]
    return _titled("students", ("student", "what it is"), rows)


def _tables() -> Table:
    rows = _definitions(definition_names("table"), load_table_spec, lambda s: (len(s.rows), s.title), 3)
    return _titled("tables", ("table", "rows", "what it shows"), rows)


def _sweeps() -> Table:
    def row(s: SweepSpec) -> tuple[Any, ...]:
        return s.suite, ", ".join(s.axis.settings), ", ".join(row.name for row in s.rows), s.title

    head = ("sweep", "suite", "varies", "lines", "what it shows")
    return _titled("sweeps", head, _definitions(definition_names("sweep"), load_sweep_spec, row, len(head)))


def _definitions(
    names: Iterable[str], load: Callable[[str], Spec], row: Callable[[Spec], Sequence[Any]], width: int
) -> list[Sequence[Any]]:
    """A line for every name; one that cannot be used says why in the last column."""
    return [
        (name, *[""] * (width - 2), f"cannot be used: {got}")
        if isinstance(got, ConfigError)
        else (name, *row(got))
        for name, got in load_all(names, load).items()
    ]


def _extensions(*, imported: bool = False) -> Table:
    """Probes, formats, figures and tasks, with the package of each and why it cannot be used.

    Args:
        imported: whether other packages' code is imported to see whether that succeeds.
    """
    tasks: tuple[str, Mapping[str, Source], Callable[[str], object]] = "task", task_sources(), answer_format
    registries = [(one.kind, one.sources(), one.get) for one in (PROBES, FORMATS, ANSWERS, FIGURES)]
    rows = []
    for kind, sources, load in (*registries, tasks):
        failures = load_all(sources, load) if imported else {}
        for name, source in sorted(sources.items()):
            got = failures.get(name)
            rows.append(
                (kind, name, source.origin, str(got) if isinstance(got, ConfigError) else source.problem)
            )
    return _titled("extensions", ("kind", "name", "from", "problem"), rows)


def _runs(store: Path) -> Table:
    place = Store(store)
    scan = place.scan()
    by_hash = {record.key.hash: record for record in scan.records}
    rows = []
    for record in scan.records:
        state = record.status + (f": {record.reason}" if record.reason else "")
        # Nothing of today's commands takes such a run; `rm` removes it.
        outdated = _outdated(record) or _outdated_requirement(record, by_hash) or of_another(record, place)
        state = "; ".join(filter(None, (state, outdated)))
        rows.append((record.key.hash, record.key.name, record.key.student, state))
    rows += [(damaged.hash, "", "", f"damaged: {damaged.problem}") for damaged in scan.damaged]
    rows += [(name, "", "", "unfinished") for name in scan.unfinished]
    table = _titled(f"runs in {store}", ("hash", "run", "student", "state"), rows)
    oldest = min((record.key.results_version for record in scan.records), default=RESULTS_VERSION)
    changes = [f"since version {n} {text}" for n, text in RESULTS_CHANGES.items() if n > oldest]
    if changes:
        # Below the table: in a cell it would make every line of it a paragraph.
        table.caption, table.caption_justify = Text(f"Why runs are not used: {'; '.join(changes)}."), "left"
    return table


def _outdated(record: RunRecord) -> str:
    """Why today's commands make another run of this one; "" where they do not."""
    key = record.key
    if key.results_version != RESULTS_VERSION:
        return f"not used: results version {key.results_version}, now {RESULTS_VERSION}"
    source = method_sources().get(key.method)
    if source is None:
        return "its method is not here"
    return "" if key.code.partition(".")[0] == code_mark(source) else "code changed"


def _outdated_requirement(record: RunRecord, by_hash: Mapping[str, RunRecord]) -> str:
    """The same of the runs that it was made from; one that is not in the store is named."""
    for name in record.key.requires.values():
        if name not in by_hash:
            return f"made from run {name}, which is not here"
        if why := _outdated(by_hash[name]) or _outdated_requirement(by_hash[name], by_hash):
            return f"made from {by_hash[name].key.label}: {why}"
    return ""


def _titled(title: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """A table of plain text with a title on its left."""
    table = Table(*head, title=title, title_justify="left")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    return table


def show_name(name: str, store: Path) -> RenderableType:
    """The card of whatever has this name.

    Args:
        name: "settings", "extensions", or a method, a variant of one ("compact[no-consensus]"), a method's
            file ("mine.py[strong]"), a suite, table or run.
        store: the store's folder, for runs.

    Raises:
        UnknownNameError: nothing has this name; near matches are suggested.
        ConfigError: the file of a method cannot be used.
    """
    name, file = split_file(name)
    if file is not None:
        use_method_files((file,))
    if name == "settings":
        return _settings_table()
    if name == "extensions":
        return _extensions(imported=True)
    if name.partition("[")[0] in method_names():
        return method_card(name)
    if name in suite_names() or name.endswith(".toml"):
        return _suite_card(load_spec(name))
    tables = definition_names("table")
    if name.removeprefix("table_") in tables:
        return _table_card(load_table_spec(name))
    place = Store(store)
    try:
        return Group(*(record_summary(record) for record in place.find(name)))
    except UnknownNameError:
        runs = [record.key.name for record in place.records()]
        named = [f"table_{table}" for table in tables]
        known = ["settings", "extensions", *method_names(), *suite_names(), *named, *runs]
        raise UnknownNameError("name", name, known) from None


def _settings_table() -> RenderableType:
    parts: list[RenderableType] = []
    for section, model in SECTIONS.items():
        parts.append(pairs_table(f"{section} (defaults)", field_pairs(section, model)))
        if model.__doc__:
            parts.append(Text(model.__doc__.strip() + "\n", style="dim"))
    for name in method_names():
        try:
            fields = field_pairs("method", get_method(name).config_type)
        except ConfigError as error:
            parts.append(Text(f"settings of method {name}: unknown, as {error}"))
            continue
        if fields:
            parts.append(pairs_table(f"settings of method {name} (defaults)", fields))
    return Group(*parts)


def _suite_card(spec: SuiteSpec) -> RenderableType:
    profiles = _titled(
        "profiles",
        ("profile", "questions", "seeds", "note"),
        [
            (name, _questions(spec, profile.questions), ",".join(map(str, profile.seeds)), profile.note)
            for name, profile in spec.profiles.items()
        ],
    )
    tasks = _titled(
        "benchmarks",
        ("benchmark", "group", "metric", "title"),
        [(b.task, b.group, b.metric, b.title) for b in spec.benchmarks],
    )
    teachers = _titled("teachers", ("teacher", "title"), [(t.name, t.title) for t in spec.teachers])
    head = Text(f"suite {spec.name}, version {spec.version}: {spec.title}", style="bold")
    parts: list[RenderableType] = [
        head,
        Text(f"{spec.card.strip()}\n\n{spec.student_card.strip()}".strip() + "\n"),
        Text(f"student: {spec.student}"),
    ]
    return Group(*parts, teachers, *_measured_teachers(spec), tasks, profiles)


def _questions(spec: SuiteSpec, count: int | None) -> str:
    """How many training questions a profile has, and whether every seed draws them."""
    if count is None:
        return "all"
    return f"{count}, drawn by the seed" if spec.training.questions_drawn else f"the first {count}"


def _measured_teachers(spec: SuiteSpec) -> list[RenderableType]:
    """What the teachers of a generated world are measured to be like; nothing for other suites."""
    if spec.training.world is None:
        return []
    from compact_bench.data.suites.generated import generated_questions
    from compact_bench.data.suites.teacher_statistics import teacher_facts

    facts = teacher_facts(generated_questions(spec))
    if facts is None:
        return []
    measured = [_titled(one.title, one.head, one.rows) for one in teacher_tables(facts)]
    return [*measured, Text(majority_sentence(facts) + "\n")]


def _table_card(spec: TableSpec) -> RenderableType:
    listed = [(row.title, row.method, row.kind) for row in spec.rows]
    rows = _titled("rows", ("row", "method", "runs"), listed)
    groups = ", ".join(group.title for group in spec.groups)
    head = Text(f"table {spec.number}: {spec.title}", style="bold")
    return Group(head, Text(spec.numbering), rows, Text(f"columns: {groups}"))


def record_summary(record: RunRecord) -> RenderableType:
    """One run's scores, probes and costs."""
    name = f"{record.key.name}  ({record.key.hash})"
    if record.status != "done":
        return pairs_table(name, [("state", record.status), ("reason", record.reason)])
    training = record.training
    rows: list[tuple[str, Any]] = [
        ("student", record.key.student),
        ("optimiser steps", training.get("optimiser_steps", 0)),
        ("supervised tokens", training.get("tokens", 0)),
        ("training", duration(training.get("seconds", 0.0))),
        ("processor time", duration(record.provenance.get("cpu_seconds", 0.0))),
        ("final loss", training.get("final_loss")),
        ("weights", f"{record.weights['final']} (base {record.weights['base']})"),
        ("excluded questions", len(training.get("excluded", []))),
        *((f"made from ({field})", run) for field, run in record.key.requires.items()),
    ]
    for task, result in record.evaluations.items():
        rows.append((task, f"{100 * result['value']:.1f} % {result['metric']}, n = {result['n']}"))
    values = {column["name"]: number_at(record, column["source"]) for column in measure_columns()}
    rows += [(name, f"{value:.5f}") for name, value in values.items() if value is not None]
    return pairs_table(name, rows)
