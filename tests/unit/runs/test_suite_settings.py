"""`[method_settings.<method>]` of a suite: below what users and rows say, checked, part of a run's key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from compact_bench.core.errors import ConfigError, DataError, UnknownNameError
from compact_bench.data.suites import load_spec
from compact_bench.methods.registry import variant_config
from compact_bench.runs.plan import run_key
from compact_bench.runs.session import Request, Session
from tests.tiny_suite import make_tiny_lab_student, write_tiny_lab, write_tiny_suite

Folders = Callable[..., Path]


def session_of(suite: Path, folder: Path, *overrides: str) -> Session:
    """A session of a suite's smoke profile."""
    return Session(Request(str(suite), "smoke", folder / "cache", folder / "store", overrides=overrides))


def suite_with(folder: Path, student: Path, text: str) -> Path:
    """A tiny suite with a text before its profiles."""
    path = write_tiny_suite(folder, str(student))
    whole = path.read_text(encoding="utf-8").replace("[profiles.smoke]\n", f"{text}\n[profiles.smoke]\n", 1)
    path.write_text(whole, encoding="utf-8")
    return path


@pytest.mark.parametrize("suite", ["lab", "lab@1"])
def test_the_lab_gives_words_that_its_student_knows(suite: str) -> None:
    from compact_bench.data.lab.student.tokenizer import lab_tokenizer
    from compact_bench.data.validation.limits import unknown_finder

    spec = load_spec(suite)
    find = unknown_finder(lab_tokenizer(spec.version))
    assert find is not None
    words = spec.method_settings["sbs_kd"]
    assert find("predict: explain: ")
    assert not any(find(text) for text in words.values())
    assert len(set(words.values())) == 2


def test_rows_come_before_users_and_users_before_the_suite(tmp_path: Path) -> None:
    student = make_tiny_lab_student(tmp_path / "student")
    suite = write_tiny_lab(tmp_path / "suite", str(student))
    plain = run_key(session_of(suite, tmp_path), "sbs_kd", "", 1)
    assert plain.settings["method"]["label_prefix"] == "answer: "
    assert plain.settings["method"]["label_share"] == 0.5
    changed = session_of(suite, tmp_path, "label_prefix='Now: '", "label_share=0.25")
    key = run_key(changed, "sbs_kd", "", 1)
    assert key.settings["method"]["label_prefix"] == "Now: "
    assert key.settings["method"]["rationale_prefix"] == "think: "
    row = run_key(changed, "sbs_kd", "vanilla", 1, {"method": variant_config("sbs_kd", "vanilla")})
    assert (row.settings["method"]["label_prefix"], row.settings["method"]["label_share"]) == ("", 0.0)
    assert len({plain.hash, key.hash, row.hash}) == 3
    uniform = run_key(session_of(suite, tmp_path), "uniform", "", 1)
    assert "label_prefix" not in uniform.settings["method"]


def test_they_move_no_other_run(student_folder: Folders, tmp_path: Path) -> None:
    student = student_folder()
    bare = session_of(write_tiny_suite(tmp_path / "bare", str(student)), tmp_path)
    given = suite_with(tmp_path / "given", student, "[method_settings.sbs_kd]\nlabel_share = 0.75")
    suited = session_of(given, tmp_path)
    assert run_key(bare, "uniform", "", 1).hash == run_key(suited, "uniform", "", 1).hash
    assert run_key(bare, "sbs_kd", "", 1).hash != run_key(suited, "sbs_kd", "", 1).hash


def test_a_suite_that_extends_another_changes_single_settings(tmp_path: Path) -> None:
    student = make_tiny_lab_student(tmp_path / "student")
    suite = write_tiny_lab(tmp_path / "suite", str(student))
    suite.write_text(
        suite.read_text(encoding="utf-8") + "\n[method_settings.mcc_kd]\nagreement_weight = 0.5\n",
        encoding="utf-8",
    )
    assert load_spec(suite).method_settings == {
        "sbs_kd": {"label_prefix": "answer: ", "rationale_prefix": "think: "},
        "mcc_kd": {"agreement_weight": 0.5},
    }


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        (
            '[method_settings.sbs_kt]\nteacher = "ada"',
            UnknownNameError,
            ["sbs_kt", "Did you mean", "sbs_kd"],
        ),
        ("[method_settings.sbs_kd]\nalfa = 0.5", ConfigError, ["[method_settings.sbs_kd]", "alfa"]),
        (
            "[method_settings.sbs_kd]\nlabel_share = 7",
            ConfigError,
            ["[method_settings.sbs_kd]", "label_share", "7"],
        ),
        ("[method_settings]\nsbs_kd = 7", ConfigError, ["method_settings.sbs_kd"]),
    ],
)
def test_what_a_method_does_not_take_is_refused(
    student_folder: Folders, tmp_path: Path, text: str, kind: type[ConfigError], said: list[str]
) -> None:
    with pytest.raises(kind) as caught:
        session_of(suite_with(tmp_path, student_folder(), text), tmp_path)
    for part in said:
        assert part in str(caught.value)


def test_a_required_setting_may_come_from_a_row(student_folder: Folders, tmp_path: Path) -> None:
    text = '[method_settings.single_teacher]\nsft_reduction = "sum"'
    session = session_of(suite_with(tmp_path, student_folder(), text), tmp_path)
    key = run_key(session, "single_teacher", "ada", 1, {"method": {"teacher": "ada"}})
    assert key.settings["method"] == {"teacher": "ada", "sft_reduction": "sum"}


def test_rationales_that_are_not_there_are_not_the_suites_own(
    tmp_path: Path, student_folder: Folders
) -> None:
    suite = write_tiny_suite(tmp_path, str(student_folder()))
    request = Request(str(suite), "smoke", tmp_path / "cache", tmp_path / "store")
    assert Session(request).suite_fingerprint
    with pytest.raises(DataError, match="expected a file"):
        Session(replace(request, rationales=str(tmp_path / "nowhere.json"))).suite_fingerprint  # noqa: B018
