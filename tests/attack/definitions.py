"""Suites, tables and sweeps as files: their fields by the documentation (docs/suites.md, tables.md, sweeps.md)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.attack import settings, world
from tests.attack.cases import ANY, Accepted, Case, Either, Refused
from tests.attack.driver import Done
from tests.attack.kinds import Bool, Choice, Int, ListOf, Real, Text, Word
from tests.attack.tomls import Definition, cases_of, document, with_field

AREA = "definitions"
make_world = settings.make_world
TASKS = Choice(("svamp",))
GROUP = settings.GROUPS
SUITE: dict[str, Any] = {
    "name": "mine",
    "version": 1,
    "title": "My questions",
    "card": "Made for the attack.",
    "student": "STUDENT",
    "training": {"file": "training.jsonl", "validation_questions": 2},
    "benchmarks": [
        {"task": "svamp", "title": "Sums", "group": "in_distribution", "metric": "exact_match", "layout": "rows",
         "file": "svamp.jsonl"},
        {"task": "piqa", "title": "Things", "group": "retention", "metric": "acc", "layout": "rows", "file": "piqa.jsonl",
         "chance": 0.5},
    ],
    "profiles": {"smoke": {"seeds": [1], "note": "a test", "settings": {"train": {"epochs": 1}, "eval": {"items_per_task": 2}}}},
}  # fmt: skip
SUITE_FIELDS: dict[str, Any] = {
    "name": Word(), "version": Int(1), "title": Word(), "card": Text(), "student_title": Text(),
    "system_prompt": Choice(("",)), "training.validation_questions": Int(1), "training.max_rationale_tokens": Int(1),
    "training.expected_questions": Int(1), "benchmarks.0.title": Word(), "benchmarks.0.group": GROUP,
    "benchmarks.0.metric": Choice(("exact_match",)), "benchmarks.0.task": TASKS, "benchmarks.0.layout": Choice(("rows",)),
    "benchmarks.1.chance": Real(0, 1), "benchmarks.0.items": Int(10, 9), "profiles.smoke.questions": Int(1),
    "profiles.smoke.seeds": ListOf(Int(0), 1), "profiles.smoke.note": Text(),
    "profiles.smoke.tune": Int(10, 9),
    **{f"profiles.smoke.settings.{name}": settings.FIELDS[name] for name in
       ("train.epochs", "train.learning_rate", "train.dtype", "train.warmup_steps", "lora.dropout", "lora.enabled", "lora.rank",
        "eval.batch_size", "eval.max_new_tokens", "eval.engine")},
}  # fmt: skip
REQUIRED = (
    "name", "version", "title", "student", "training", "benchmarks", "profiles", "benchmarks.0.task", "benchmarks.0.title",
    "benchmarks.0.group", "benchmarks.0.metric", "benchmarks.0.file", "profiles.smoke.seeds",
)  # fmt: skip


def _attribute(root: Any, path: str) -> Any:
    for step in path.split("."):
        if isinstance(root, dict):
            root = root[step]
        else:
            root = root[int(step)] if isinstance(root, tuple | list) else getattr(root, step)
    return root


def suite() -> Definition:
    """A suite of one's own."""
    return Definition(
        AREA,
        "mine.toml",
        (*world.PLAN, "--suite", "{case}/mine.toml", "--student", "{world}/student"),
        SUITE,
        SUITE_FIELDS,
        frozenset({"training.validation_questions", "name", "training.max_rationale_tokens", "profiles.smoke.questions",
                   "profiles.smoke.seeds", "training.expected_questions"}),
        REQUIRED,
        ("card", "training.validation_questions", "benchmarks.1.chance", "profiles.smoke.note", "profiles.smoke.settings"),
        lambda done, path: _attribute(done.session.spec, path),
        suite_files(),
    )  # fmt: skip


def suite_files() -> dict[str, bytes]:
    """What the suite refers to."""
    items = [
        {
            "id": f"s-{n}",
            "question": f"Ann finds {n + 11} pears and eats {n + 2}. How many are left?",
            "answer": "9",
        }
        for n in range(3)
    ]
    things = [
        {
            "id": f"p-{n}",
            "question": f"How do you open {what}?",
            "choices": ["Turn the handle.", "Eat it."],
            "label": 0,
        }
        for n, what in enumerate(("a door", "a window"))
    ]
    return {
        "training.jsonl": world.jsonl(world.rows()),
        "svamp.jsonl": world.jsonl(items),
        "piqa.jsonl": world.jsonl(things),
    }


TABLE: dict[str, Any] = {
    "number": "7", "title": "A table", "numbering": "", "reference": "compact", "unlisted_rows": "requested",
    "rows": [{"method": "uniform", "title": "Uniform"}, {"method": "compact", "title": "COMPACT", "variant": "no-consensus"},
             {"method": "compact", "title": "All", "settings": {"train": {"epochs": 2}}}],
    "groups": [{"name": "in_distribution", "title": "ID", "kind": "benchmarks", "mean": True, "compared": True},
               {"name": "cost", "title": "Cost", "kind": "measures",
                "columns": [{"name": "tokens", "title": "Tokens", "source": "training.tokens", "unit": "count"}]}],
    "comparisons": [{"row": "compact", "against": "uniform"}],
}  # fmt: skip
TABLE_FIELDS: dict[str, Any] = {
    "number": Word(), "title": Word(), "numbering": Text(), "reference": Choice(("compact", "uniform")),
    "unlisted_rows": Choice(("stored", "requested")), "rows.0.method": Choice(("uniform",)), "rows.0.title": Text(),
    "rows.0.kind": Choice(("method",)), "rows.1.variant": Choice(("no-consensus",)), "rows.2.settings.train.epochs": Int(1),
    "rows.0.epochs_times_teachers": Bool(), "rows.0.requires": Choice(("", "truth")), "rows.0.profiles": ListOf(Word()),
    "groups.0.title": Text(), "groups.0.kind": Choice(("benchmarks",)), "groups.0.mean": Bool(), "groups.0.compared": Bool(),
    "groups.1.columns.0.name": Word(), "groups.1.columns.0.title": Text(), "comparisons.0.row": Choice(("compact",)),
    "comparisons.0.against": Choice(("uniform",)), "comparisons.0.detectable": Bool(),
}  # fmt: skip


def table() -> Definition:
    """A table of one's own."""
    words = [*world.PLAN, "--suite", world.SUITE]
    words[words.index("--table") + 1] = "{case}/table.toml"
    required = ("title", "numbering", "number", "reference", "rows", "groups", "rows.0.method", "rows.0.title", "groups.0.name",
                "groups.0.title", "groups.0.kind", "comparisons.0.row", "comparisons.0.against")  # fmt: skip
    loose = frozenset({"rows.0.profiles", "numbering", "number", "groups.1.columns.0.name", "groups.0.compared", "groups.0.mean",
                       "rows.0.epochs_times_teachers", "rows.0.requires"})  # fmt: skip
    optional = ("unlisted_rows", "comparisons", "rows.2.settings")
    return Definition(AREA, "table.toml", tuple(words), TABLE, TABLE_FIELDS, loose, required, optional)


SWEEP: dict[str, Any] = {
    "name": "weak", "title": "When they err", "suite": "lab", "profile": "smoke", "seeds": [1], "reference": "compact",
    "axis": {"setting": "weak_error_rate", "title": "Error rate", "values": [0.1, 0.4]},
    "rows": [{"name": "uniform", "method": "uniform", "title": "Uniform", "style": 0},
             {"name": "compact", "method": "compact", "title": "COMPACT", "style": 1, "settings": {"method": {"temperature": 2.0}}}],
    "panels": [{"name": "accuracy", "title": "Accuracy", "y_title": "%", "group": "in_distribution"}],
}  # fmt: skip
SWEEP_FIELDS: dict[str, Any] = {
    "name": Word(), "title": Word(), "seeds": ListOf(Int(0), 1), "reference": Choice(("compact", "uniform")),
    "axis.setting": Choice(("weak_error_rate",)), "axis.title": Text(), "axis.values": ListOf(Real(0, 1), 1),
    "rows.0.name": Word(), "rows.0.method": Choice(("uniform",)), "rows.0.title": Text(), "rows.0.style": Int(0),
    "rows.0.optional": Bool(), "rows.1.settings.method.temperature": Real(), "panels.0.name": Word(), "panels.0.title": Text(),
    "panels.0.y_title": Text(), "panels.0.group": GROUP, "panels.0.one_minus": Bool(),
}  # fmt: skip


def sweep() -> Definition:
    """A sweep of one's own."""
    place = (
        "--store",
        "{case}/store",
        "--output",
        "{case}/out",
        "--offline",
        "--workers",
        "1",
        "--threads",
        "1",
    )
    words = ("sweep", "{case}/sweep.toml", "--suite", "{world}/lab/tinylab.toml", *place, "--dry-run")
    required = ("title", "name", "suite", "profile", "seeds", "reference", "axis", "axis.setting", "axis.title", "axis.values",
                "rows", "rows.0.name", "rows.0.method", "rows.0.title", "rows.0.style", "panels", "panels.0.title",
                "panels.0.y_title", "panels.0.name")  # fmt: skip
    loose = frozenset({"name", "rows.0.name", "panels.0.name", "seeds", "rows.0.style", "rows.0.optional"})
    return Definition(AREA, "sweep.toml", words, SWEEP, SWEEP_FIELDS, loose, required, ("rows.1.settings",))


def reference_cases() -> Iterator[Case]:
    """What a suite refers to: files, repositories, students, methods, other suites."""
    made = suite()
    zeros, good = "0" * 40, "a" * 64
    file = {"path": "x.jsonl", "sha256": good, "bytes": 1, "commit": zeros}
    for path, value in (
        ("training.file", "none.jsonl"), ("training.file", ""), ("training.file", "."), ("training.file", "../none.jsonl"),
        ("training.file", "training.jsonl\n"), ("training.file", 1), ("benchmarks.0.file", "none.jsonl"), ("benchmarks.0.file", ""),
        ("training.file", {**file, "repo": "../.."}), ("training.file", {**file, "repo": "../../x"}),
        ("training.file", {**file, "repo": "/etc/x"}), ("training.file", {**file, "repo": "a/../b"}),
        ("training.file", {**file, "repo": "a/b/c"}), ("training.file", {**file, "repo": "a\\b/c"}),
        ("training.file", {**file, "repo": "a/b", "path": "../../x"}), ("training.file", {**file, "repo": "a/b", "path": "/etc/passwd"}),
        ("training.file", {**file, "repo": "a/b", "commit": "main"}), ("training.file", {**file, "repo": "a/b", "sha256": "0"}),
        ("training.file", {**file, "repo": "a/b", "bytes": -1}), ("training.file", {"path": "training.jsonl"}),
        ("training.hub", {"name": "a/b"}), ("training.world", {"slip_rate": 0.1}), ("extends", "nothing"), ("extends", 1),
        ("extends", "mine.toml"), ("extends", "../svamp"), ("method_settings", {"uniform": {"nothing": 1}}),
        ("method_settings", {"nothing": {"x": 1}}), ("method_settings", {"compact": {"temperature": "hot"}}),
        ("method_settings", {"compact": {"temperature": True}}), ("teachers", [{"name": "ada"}, {"name": "ada"}]),
        ("teachers", [{"name": "zoe"}]), ("teachers", [{"name": "a b"}]), ("teachers", [{"name": "a\nb"}]), ("teachers", [{}]),
        ("teachers", [{"name": "../x"}]), ("name", "../x"), ("name", "a/b"), ("name", "a b"), ("name", ""), ("name", "x" * 300),
        ("profiles", {"smoke": {"seeds": []}}), ("profiles", {"smoke": {"seeds": [1, 1]}}), ("profiles", {"smoke": {"seeds": [True]}}),
        ("profiles", {"smoke": {"seeds": [-1]}}), ("profiles", {"other": {"seeds": [1]}}),
        ("profiles", {"smoke": {"seeds": [1], "tune": {"learning_rates": []}}}),
        ("profiles", {"smoke": {"seeds": [1], "tune": {"learning_rates": [0]}}}),
        ("profiles", {"smoke": {"seeds": [1], "settings": {"nothing": {"x": 1}}}}),
        ("profiles", {"smoke": {"seeds": [1], "settings": {"train": {"nothing": 1}}}}),
        ("profiles", {"a/b": {"seeds": [1]}, "smoke": {"seeds": [1]}}),
        ("benchmarks.0.task", "nothing"), ("benchmarks.0.task", "../svamp"), ("benchmarks.0.task", "piqa"),
        ("benchmarks.0.metric", "acc"), ("benchmarks.1.metric", "exact_match"),
        ("benchmarks.0.metric", "f1"), ("benchmarks.0.layout", "nothing"), ("benchmarks.0.layout", "gsm8k"),
    ):  # fmt: skip
        data = document(with_field(SUITE, path, value)).encode()
        yield made.case(f"{path} = {value!r}"[:90], data, Refused(ANY - {1}))
    for content, name in _bad_items():
        files = {**suite_files(), **content}
        case = made.case(name, document(SUITE).encode(), Refused(ANY - {1}, (next(iter(content)),)))
        yield Case(**{**vars(case), "files": {**case.files, **files, "mine.toml": document(SUITE).encode()}})
    yield Case(
        AREA, "a suite that links to itself", made.words, Refused(ANY - {1}, ("mine.toml",)), prepare=_loop
    )
    two = Either(Refused(ANY - {1}, ("mine",)), Accepted(), "a suite may be given with its folder")
    yield Case(AREA, "a folder as suite", made.words, two, prepare=lambda case: (case / "mine.toml").mkdir())


def _bad_items() -> Iterator[tuple[dict[str, bytes], str]]:
    item = {"id": "s-0", "question": "How many?", "answer": "9"}
    for name, row in {
        "no question": {"id": "1", "answer": "9"}, "no answer": {"question": "How?"}, "an empty answer": {**item, "answer": ""},
        "an empty question": {**item, "question": " "}, "a list": [1], "null": None, "an answer of NaN": {**item, "answer": float("nan")},
        "an answer of true": {**item, "answer": True}, "an invisible answer": {**item, "answer": "\u200b"},
    }.items():  # fmt: skip
        yield {"svamp.jsonl": world.jsonl([item, row])}, f"an item with {name}"
    good = {"question": "How?", "choices": ["a", "b"], "label": 0}
    for name, change in {
        "label 2": {"label": 2}, "label -1": {"label": -1}, "label true": {"label": True}, "label 0.0": {"label": 0.5},
        "one choice": {"choices": ["a"]}, "no choice": {"choices": []}, "equal choices": {"choices": ["a", "a"]},
        "an empty choice": {"choices": ["a", " "]}, "choices as text": {"choices": "ab"}, "a number": {"choices": ["a", 2]},
    }.items():  # fmt: skip
        yield {"piqa.jsonl": world.jsonl([{**good, **change}])}, f"a choice item with {name}"
    for name, data in {
        "nothing": b"",
        "no JSON": b"{",
        "UTF-16": "{}".encode("utf-16"),
        "a number": b"7",
    }.items():
        yield {"svamp.jsonl": data}, f"an item file of {name}"


def _loop(case: Path) -> None:
    (case / "mine.toml").symlink_to("mine.toml")


def cases() -> Iterator[Case]:
    """All of the area."""
    for definition in (suite(), table(), sweep()):
        yield from cases_of(definition)
    yield from reference_cases()


def spec_of(done: Done) -> Any:
    """The suite that a command worked with."""
    return done.session.spec
