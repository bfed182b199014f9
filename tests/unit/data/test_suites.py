"""Suite files: the packaged ones, and a user's own with everything that can be wrong in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from compact_bench.core.errors import ConfigError, UnknownNameError
from compact_bench.core.settings import RunSettings, merged
from compact_bench.data.lab import LAB_TASKS, TEACHERS
from compact_bench.data.lab.student import LAB_STUDENTS
from compact_bench.data.suites import SuiteSpec, load_spec, suite_names, with_world
from compact_bench.data.suites.loading import suite_files
from compact_bench.evaluation.task_files import is_generation, task_sources
from compact_bench.students.student import LAB_STUDENT

BENCHMARK = """
[[benchmarks]]
task = "svamp"
title = "Mine"
group = "in_distribution"
metric = "exact_match"
layout = "rows"
file = "items.jsonl"
"""
GENERATED = """
[[benchmarks]]
task = "lab_ring"
title = "Mine"
group = "in_distribution"
metric = "exact_match"
items = 4
"""
LAB = 'extends = "lab@1"\nname = "mine"\n[training.world]\nslip_rate = 0.25\n'
HEAD = 'name = "mine"\nversion = 1\ntitle = "Mine"\nstudent = "org/student"\n'
REST = '[training]\nfile = "mine.jsonl"\n[profiles.lite]\nseeds = [1, 2]\n'


def write(folder: Path, text: str) -> str:
    (folder / "items.jsonl").write_text('{"question": "One?", "answer": "1"}\n')
    (folder / "mine.jsonl").write_text("{}\n")
    file = folder / "suite.toml"
    file.write_text(text)
    return str(file)


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_spec(write(folder, text))
    return str(caught.value)


def test_the_packaged_suites() -> None:
    assert suite_names() == ("gsm8k", "lab", "lab@1", "strategyqa", "svamp")


@pytest.mark.parametrize("name", ["gsm8k", "strategyqa", "svamp"])
def test_a_packaged_suite_names_tasks_metrics_and_groups_that_exist(name: str) -> None:
    spec = load_spec(name)
    assert spec.name == name
    for benchmark in spec.benchmarks:
        assert benchmark.task in task_sources()
        generated = is_generation(benchmark.task)
        assert (benchmark.metric == "exact_match") == generated == (benchmark.chance is None)
    groups = [b.group for b in spec.benchmarks]
    assert groups == sorted(groups, key=["in_distribution", "out_of_distribution", "retention"].index)
    assert [b.task for b in spec.benchmarks if b.group == "in_distribution"] == [name]
    assert [b.task for b in spec.benchmarks if b.group == "retention"] == [
        "arc_easy", "piqa", "boolq", "winogrande",
    ]  # fmt: skip
    assert spec.student == "smollm2-135m-instruct" and "dequantised from Q4_1" in spec.student_title


@pytest.mark.parametrize(("name", "student"), [("lab", LAB_STUDENT), ("lab@1", f"{LAB_STUDENT}@1")])
def test_the_lab_suite_generates_what_it_names(name: str, student: str) -> None:
    spec = load_spec(name)
    assert (spec.name, spec.key_name) == (name, "lab")
    assert str(spec.version) == (name.partition("@")[2] or "2") and LAB_STUDENTS[student] == spec.version
    assert spec.has_truth and not load_spec("svamp").has_truth
    assert spec.training.world is not None and spec.training.source == "world"
    assert [teacher.name for teacher in spec.teachers] == list(TEACHERS)
    assert {b.task for b in spec.benchmarks} <= set(LAB_TASKS)
    groups = [b.group for b in spec.benchmarks]
    assert groups == sorted(groups, key=["in_distribution", "out_of_distribution", "retention"].index)
    for benchmark in spec.benchmarks:
        generated = is_generation(benchmark.task)
        assert (benchmark.metric == "exact_match") == generated == (benchmark.chance is None)
        assert benchmark.items is not None and benchmark.file is None and benchmark.layout is None
    assert spec.student == student and suite_files(spec) == ()
    assert list(spec.profiles) == ["smoke", "lite", "full"]
    for place, profile in spec.profiles.items():
        settings = merged(RunSettings(), profile.settings, place)
        assert not settings.lora.enabled and settings.train.dtype == "float32"
    seeds = [len(profile.seeds) for profile in spec.profiles.values()]
    assert seeds == ([1, 3, 5] if spec.version == 1 else [1, 10, 10])
    smoke = merged(RunSettings(), spec.profiles["smoke"].settings, "smoke").eval
    # A smoke run measures a handful of everything that a suite has many of.
    assert None not in (smoke.items_per_task, smoke.validation_questions, smoke.answered_questions)


@pytest.mark.parametrize("name", ["gsm8k", "strategyqa", "svamp"])
def test_profiles_give_settings_and_one_learning_rate(name: str) -> None:
    spec = load_spec(name)
    settings = {key: merged(RunSettings(), p.settings, key) for key, p in spec.profiles.items()}
    assert list(spec.profiles) == ["smoke", "lite", "full"]
    assert {s.train.learning_rate for s in settings.values()} == {2e-4}
    smoke, lite, full = settings["smoke"], settings["lite"], settings["full"]
    assert (spec.profiles["smoke"].questions, spec.profiles["lite"].questions) == (4, 24)
    assert spec.profiles["full"].questions is None
    assert [len(p.seeds) for p in spec.profiles.values()] == [1, 1, 5]
    assert (smoke.train.epochs, smoke.train.accumulation, smoke.eval.items_per_task) == (1, 2, 2)
    assert (smoke.eval.max_new_tokens, smoke.eval.validation_questions, smoke.eval.drift_passages) == (
        24,
        2,
        2,
    )
    assert (lite.train.epochs, lite.eval.items_per_task, lite.eval.max_new_tokens) == (2, 25, 160)
    assert (lite.eval.validation_questions, lite.eval.drift_passages) == (25, 8)
    assert (full.train.epochs, full.eval.items_per_task, full.eval.max_new_tokens) == (3, None, 400)


def test_every_level_of_a_teacher_can_be_chosen() -> None:
    spec = load_spec("svamp")
    chosen = spec.choose_teachers(["human", "gpt-4o@3BSM"])
    assert [(teacher.name, level) for teacher, level in chosen] == [
        ("human", "equations"),
        ("gpt-4o", "3BSM"),
    ]
    assert "data/0_SVAMP_chatgpt_level3BSM.json" in {f.path for f in suite_files(spec, ["gpt-4o@3BSM"])}
    with pytest.raises(UnknownNameError, match="level of teacher 'gpt-4o' '9'"):
        spec.choose_teachers(["gpt-4o@9"])
    with pytest.raises(UnknownNameError, match="Did you mean 'human'"):
        spec.choose_teachers(["humans"])
    with pytest.raises(ConfigError, match="got 'human' twice"):
        spec.choose_teachers(["human", "human"])


def test_only_files_of_the_chosen_teachers_are_needed() -> None:
    refs = suite_files(load_spec("svamp"))
    paths = [ref.path for ref in refs]
    assert len(paths) == len(set(paths)) == 16
    assert "data/SVAMP_gemini_level3_ranked.json" in paths
    assert "data/SVAMP_gemini_level5_ranked.json" not in paths


def test_an_unknown_suite_gets_a_hint() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'svamp'"):
        load_spec("svanp")


def test_a_users_suite_reads_files_beside_it(tmp_path: Path) -> None:
    spec = load_spec(write(tmp_path, HEAD + REST + BENCHMARK))
    assert spec.training.file is not None
    assert spec.training.file.path == str(tmp_path / "mine.jsonl") and spec.training.file.ref is None
    assert suite_files(spec) == ()
    before = spec.training.file.sha256
    (tmp_path / "mine.jsonl").write_text("{} \n")
    after = load_spec(str(tmp_path / "suite.toml")).training.file
    assert after is not None and after.sha256 != before


def test_a_users_suite_may_start_from_a_packaged_one(tmp_path: Path) -> None:
    text = (
        'extends = "svamp"\nname = "mine"\ntitle = "Mine"\n'
        '[groups]\nretention = ["piqa"]\nin_distribution = ["svamp"]\n'
        '[training]\nfile = "mine.jsonl"\n[profiles.tiny]\nquestions = 2\nseeds = [7]\n'
    )
    spec = load_spec(write(tmp_path, text))
    assert [(b.task, b.group) for b in spec.benchmarks] == [
        ("piqa", "retention"),
        ("svamp", "in_distribution"),
    ]
    assert set(spec.profiles) == {"smoke", "lite", "full", "tiny"}
    # What says something of the other rationales is not taken over.
    assert spec.teachers == () and spec.known_faults == ()


def test_a_users_suite_may_change_one_rate_of_the_lab(tmp_path: Path) -> None:
    base, changed = load_spec("lab@1"), load_spec(write(tmp_path, LAB))
    ours, theirs = base.training.world, changed.training.world
    assert ours is not None and theirs is not None
    assert theirs == ours.model_copy(update={"slip_rate": 0.25})
    assert changed.training.validation_questions == base.training.validation_questions
    assert changed.teachers == base.teachers and changed.benchmarks == base.benchmarks
    # No [training] at all: the world as it is.
    plain = load_spec(write(tmp_path, 'extends = "lab@1"\nname = "mine"\n'))
    assert plain.training == base.training and plain.teachers == base.teachers


def test_a_users_suite_may_choose_from_the_lab(tmp_path: Path) -> None:
    text = LAB.replace("[training.world]", "[training]\nvalidation_questions = 8\n[training.world]")
    text += '[groups]\nin_distribution = ["lab_order"]\n[[teachers]]\nname = "breezy"\n'
    spec = load_spec(write(tmp_path, text))
    assert [teacher.name for teacher in spec.teachers] == ["breezy"]
    assert [b.task for b in spec.benchmarks] == ["lab_order"]
    assert spec.training.validation_questions == 8


def test_rationales_of_a_file_inherit_no_world(tmp_path: Path) -> None:
    file = '[training]\nfile = "mine.jsonl"\n'
    message = complaint(tmp_path, f'extends = "lab@1"\nname = "mine"\n{file}')
    assert "benchmark 'lab_ring': expected a file" in message and "--rationales" in message
    spec = load_spec(write(tmp_path, f'extends = "lab@1"\nname = "mine"\n{file}{BENCHMARK}'))
    assert not spec.has_truth and spec.teachers == ()


def test_the_world_of_a_suite_can_be_changed_for_one_command() -> None:
    spec = load_spec("lab")
    assert with_world(spec, ()) is spec
    changed = with_world(spec, ("slip_rate = 1e-1", "seed=5", "slip_rate=0.2")).training.world
    assert changed is not None and (changed.slip_rate, changed.seed) == (0.2, 5)
    assert spec.training.world is not None and spec.training.world.seed == 1


@pytest.mark.parametrize(
    ("suite", "overrides", "parts"),
    [
        ("lab", ("slip_rat=0.2",), ["'slip_rat' names no setting", "did you mean slip_rate"]),
        ("lab", ("slip_rate",), ["'slip_rate': expected key=value"]),
        ("lab", ("slip_rate=", "sed=1"), ["'slip_rate=': expected key=value", "'sed' names no setting"]),
        ("lab", ("slip_rate=[",), ["slip_rate: expected a list as [a, b]"]),
        ("lab", ("slip_rate=1.5", "questions=2"), ["--world: 2 value(s)", "slip_rate", "questions"]),
        ("lab", ("longest_steps=1",), ["expected shortest_steps <= longest_steps"]),
        ("lab", ("version=1",), ["expected version 2", "got 1", "--suite lab@1"]),
        ("lab@1", ("version=2",), ["expected version 1", "got 2"]),
        ("svamp", ("slip_rate=0.2",), ["got 'svamp'", "training.gold", "--suite lab"]),
    ],
)
def test_a_wrong_change_of_the_world_is_refused(
    suite: str, overrides: tuple[str, ...], parts: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        with_world(load_spec(suite), overrides)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("name = ", ["suite.toml: expected TOML in UTF-8"]),
        (HEAD + REST, ["benchmarks: Field required"]),
        (HEAD + 'system_prompt = "Be brief."\n' + REST + BENCHMARK, ["system_prompt", "chat template's own"]),
        (HEAD + REST + BENCHMARK + 'nonsense = "x"\n', ["benchmarks.0.nonsense"]),
        (HEAD + REST + BENCHMARK + BENCHMARK, ["benchmark task 'svamp': expected it once"]),
        (HEAD + REST.replace("[1, 2]", "[1, 1]") + BENCHMARK, ["expected every seed once"]),
        (HEAD + REST.replace("[1, 2]", "[]") + BENCHMARK, ["profiles.lite.seeds"]),
        (HEAD + REST.replace("mine.jsonl", "none.jsonl") + BENCHMARK, ["training.file: expected a file"]),
        (HEAD + REST + "[profiles.lite.settings.train]\nepochz = 1\n" + BENCHMARK, ["train.epochz"]),
        (HEAD + REST + "[profiles.lite.settings.train]\nepochs = 0\n" + BENCHMARK, ["train.epochs"]),
        (HEAD + REST + BENCHMARK.replace('"rows"', '"lines"'), ["benchmarks.0.layout"]),
        (HEAD + REST + BENCHMARK.replace('"items.jsonl"', "3"), ["benchmarks.0.file"]),
        (
            HEAD + REST + BENCHMARK + '[[teachers]]\nname = "a"\nfile = "items.jsonl"\n',
            ["teacher 'a': expected none, as the training file holds them"],
        ),
        (
            HEAD + REST.replace("file =", "gold =") + BENCHMARK,
            ["teachers: expected at least one"],
        ),
        (
            HEAD + REST.replace("file =", "gold =") + BENCHMARK + '[[teachers]]\nname = "a"\n',
            ["teacher 'a': expected files of its own"],
        ),
        (
            HEAD + REST + BENCHMARK + '[[known_faults]]\nkind = "no_answer"\ntreatment = "remove"\n',
            ["treatment of no_answer: expected 'keep'"],
        ),
        (
            HEAD + REST + BENCHMARK + '[[known_faults]]\nkind = "no_answer"\ntreatment = "keep"\n'
            'teachers = ["zoe"]\n',
            ["no teacher is called 'zoe'"],
        ),
        (
            HEAD + REST.replace('"mine.jsonl"', '{ origin = "x", path = "a.json" }') + BENCHMARK,
            ["training.file: no origin is called 'x'; known: none"],
        ),
        (HEAD + REST + BENCHMARK + "items = 3\n", ["expected file, or items", "got both"]),
        (
            HEAD + REST + BENCHMARK.replace('file = "items.jsonl"', ""),
            ["expected file, or items", "got none"],
        ),
        (
            HEAD + REST + BENCHMARK.replace('layout = "rows"', ""),
            ["layout: expected how the file is laid out"],
        ),
        (HEAD + REST + GENERATED, ["benchmark 'lab_ring': expected a file"]),
        (HEAD + REST + GENERATED + 'layout = "rows"\n', ["expected neither layout nor excluding"]),
        (LAB + GENERATED.replace("lab_ring", "svamp"), ["benchmark 'svamp': expected items of one of lab_"]),
        (LAB + '[[teachers]]\nname = "zoe"\n', ["teacher 'zoe': expected one of the world's, abacus"]),
        (LAB.replace("0.25", "2.0"), ["training.world.slip_rate"]),
        (LAB.replace("slip_rate", "slip_rat"), ["training.world.slip_rat"]),
        (LAB.replace("[training.world]\nslip_rate", "[training]\nworld"), ["training.world"]),
        (HEAD + REST.replace('file = "mine.jsonl"', "") + BENCHMARK, ["gold, file, hub and world, got none"]),
        ('extends = "svam"\n', ["Did you mean 'svamp'"]),
        ('extends = "svamp"\n[groups]\nretention = ["nope"]\n', ["no benchmark has the task 'nope'"]),
        ('extends = "svamp"\n[groups]\nnope = ["piqa"]\n', ["groups.nope: expected a list of tasks"]),
    ],
)
def test_a_bad_suite_file_is_refused_with_its_faults(tmp_path: Path, text: str, parts: list[str]) -> None:
    message = complaint(tmp_path, text)
    for part in parts:
        assert part in message
    assert "errors.pydantic.dev" not in message
    assert max(map(len, message.splitlines())) < 400


def test_all_faults_of_a_suite_file_are_listed_together(tmp_path: Path) -> None:
    text = (
        HEAD.replace("version = 1", "version = 0") + REST.replace("mine.jsonl", "none.jsonl") + BENCHMARK
    ).replace('"exact_match"', '"f1"')
    message = complaint(tmp_path, text)
    for part in ("suite.toml", "version", "training.file", "metric: expected one of exact_match"):
        assert part in message


def test_a_suite_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"suite file .*none\.toml: expected a TOML file"):
        load_spec(tmp_path / "none.toml")


def test_a_suite_survives_being_written_as_plain_data() -> None:
    spec = load_spec("svamp")
    assert SuiteSpec.model_validate(spec.model_dump(mode="json")) == spec
