"""Suite, table and sweep files that are wrong: refused in plain words, every fault named, nothing crashed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compact_bench.core.errors import CompactBenchError, ConfigError, DataError
from compact_bench.core.written.names import unreadable
from compact_bench.data.files.sources import FileRef, Sources, is_inside
from compact_bench.data.suites import load_spec
from compact_bench.results.sweeps.spec import load_sweep_spec
from compact_bench.results.tables.spec import load_table_spec

ROOT = Path(__file__).parents[3]
SUITE = """
name = "mine"
version = 1
title = "Mine"
student = "tiny"
[training]
file = "mine.jsonl"
validation_questions = 1
[[teachers]]
name = "ada"
[[benchmarks]]
task = "svamp"
title = "SVAMP"
group = "in_distribution"
metric = "exact_match"
layout = "rows"
file = "mine.jsonl"
[profiles.smoke]
seeds = [1]
[profiles.smoke.settings.train]
epochs = 1
"""
NASTY = (
    "true", "1", "-1", "1.5", "nan", "inf", "2024-01-01", "07:32:00", '""', '"x\\n## y"',
    '"\\u001B[31m"', '"\\u202E"', '"../.."', '"/etc/passwd"', '"a\\u0000b"', '"~nobody-at-all/x"', "[]",
    "[[1]]", '["a", "a"]', "{}", "{ a = 1 }", "[1, true]", "9223372036854775808", "1" * 5000,
    '"' + "n" * 5000 + '"', "[" * 2000 + "]" * 2000, "[{}]", "[{ task = [] }]",
)  # fmt: skip


def places(text: str) -> list[int]:
    """Lines of a file that give a value."""
    return [number for number, line in enumerate(text.splitlines()) if " = " in line]


def attacked(text: str, load: Callable[[str], Any], file: Path) -> list[str]:
    """What went wrong when every value of a file was replaced by every nasty one."""
    wrong = []
    lines = text.splitlines()
    for number in places(text):
        for nasty in NASTY:
            changed = [*lines]
            changed[number] = f"{lines[number].split(' = ')[0]} = {nasty}"
            file.write_text("\n".join(changed), encoding="utf-8")
            try:
                load(str(file))
            except CompactBenchError as error:
                if error.exit_code == 70 or unreadable(str(error), lines=True):
                    wrong.append(f"{changed[number][:80]}: {error}")
            except Exception as error:
                wrong.append(f"{changed[number][:80]}: {type(error).__name__}: {error}"[:300])
    return wrong


def test_a_suite_file_is_read_or_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text("")
    assert not attacked(SUITE, load_spec, tmp_path / "suite.toml")


@pytest.mark.parametrize(
    ("name", "load"),
    [("sweep_style", load_sweep_spec), ("table_2", load_table_spec)],
)
def test_a_table_or_sweep_file_is_read_or_refused(
    name: str, load: Callable[[str], Any], tmp_path: Path
) -> None:
    text = (ROOT / "paper_tables" / f"{name}.toml").read_text(encoding="utf-8")
    if name == "table_2":
        # One row, group and column of each kind is enough: the rest says the same again.
        text = "\n".join(text.splitlines()[:45]) + "\n" + _groups()
    assert not attacked(text, load, tmp_path / f"{name}.toml")


def _groups() -> str:
    return """
[[groups]]
name = "in_distribution"
title = "In"
kind = "benchmarks"
mean = true
compared = true
[[groups]]
name = "probes"
title = "Probes"
kind = "measures"
[[groups.columns]]
name = "weight_change"
title = "Weight change"
source = "probes.weight_change"
unit = "ratio"
[[controls]]
row = "compact"
against = "uniform"
group = "in_distribution"
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("epochs = 1", "epochs = true", "expected a number, got true or false"),
        ("epochs = 1", 'epochs = "1"', "expected a number, got text"),
        ("seeds = [1]", "seeds = [1, 1]", "expected every seed once"),
        ("seeds = [1]", "seeds = [true]", "expected a number, got true or false"),
        ("seeds = [1]", "seeds = [4294967296]", "4294967295"),
        ("version = 1", "version = 1\nversion = 2", "Cannot overwrite a value"),
        ("[training]", "[training]\n[training]", "Cannot declare"),
        ('layout = "rows"', 'layout = "row"', "Did you mean 'rows'"),
        ('name = "ada"', 'name = "a/b"', "name"),
        ('title = "Mine"', 'title = "a\\u202Eb"', "U+202E"),
        ('title = "Mine"', "title = 7", "string"),
        (
            "[profiles.smoke]",
            "[groups]\nin_distribution = ['svmap']\n[profiles.smoke]",
            "Did you mean 'svamp'",
        ),
        ("[profiles.smoke]", "[groups]\nretention = [[]]\n[profiles.smoke]", "no benchmark has the task []"),
        ("[profiles.smoke]", "groups = 3\n[profiles.smoke]", "groups"),
    ],
)
def test_faults_are_told(old: str, new: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text("")
    file = tmp_path / "suite.toml"
    if new.startswith("groups"):
        text = f"groups = 3\n{SUITE}"
    else:
        assert old in SUITE
        text = SUITE.replace(old, new, 1)
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_spec(str(file))
    assert said in str(caught.value) and caught.value.exit_code == 2


OUT = (
    "../..",
    "a/../..",
    "/abs/olute",
    "a",
    "a/b/c",
    "a/..",
    "./a",
    "a/ b",
    "a\\b/c",
    "a/b\n",
    "C:/x",
    "a/b:c",
)


@pytest.mark.parametrize("repo", OUT)
def test_a_repository_is_an_owner_and_a_name(repo: str, tmp_path: Path) -> None:
    text = SUITE.replace(
        'file = "mine.jsonl"\nvalidation',
        f"file = {upstream(_toml(repo), repr('x'))}\nvalidation",
    )
    (tmp_path / "suite.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"training.file.repo"):
        load_spec(str(tmp_path / "suite.toml"))


@pytest.mark.parametrize(
    "path", ["..", "../x", "a/../../x", "/etc/passwd", "a//b", "./a", "a\\..\\b", "C:x", ""]
)
def test_a_path_stays_in_its_repository(path: str, tmp_path: Path) -> None:
    text = SUITE.replace(
        'file = "mine.jsonl"\nvalidation',
        f"file = {upstream(repr('o/r'), _toml(path))}\nvalidation",
    )
    (tmp_path / "mine.jsonl").write_text("")
    (tmp_path / "suite.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError):
        load_spec(str(tmp_path / "suite.toml"))
    assert not is_inside(path)


def upstream(repo: str, path: str) -> str:
    rest = f"commit = '{'a' * 40}', sha256 = '{'0' * 64}', bytes = 1"
    return f"{{ repo = {repo}, path = {path}, {rest} }}"


def _toml(text: str) -> str:
    import json

    return json.dumps(text)


def ref(repo: str, path: str, content: bytes) -> FileRef:
    import hashlib

    return FileRef(repo, "c" * 40, path, hashlib.sha256(content).hexdigest(), len(content))


@pytest.mark.parametrize(("repo", "path"), [("../..", "x"), ("o/r", "../../../../x"), ("o/r", "/tmp/x")])
def test_nothing_is_read_or_written_outside(repo: str, path: str, tmp_path: Path) -> None:
    cache, mirror = tmp_path / "deep" / "cache", tmp_path / "deep" / "mirror"
    mirror.mkdir(parents=True)
    with pytest.raises(DataError, match="leads out of it"):
        Sources(cache, mirror, offline=True).fetch(ref(repo, path, b"x"))
    assert not [f for f in tmp_path.rglob("*") if f.is_file()]


def test_links_that_lead_out_are_not_followed(tmp_path: Path) -> None:
    outside, content = tmp_path / "outside", b"content"
    outside.mkdir()
    (outside / "x").write_bytes(content)
    mirror = tmp_path / "mirror"
    (mirror / "o").mkdir(parents=True)
    place = mirror / "o" / "r" / ("c" * 40)
    place.parent.mkdir()
    place.symlink_to(outside)
    with pytest.raises(DataError, match="link that leads out"):
        Sources(tmp_path / "cache", mirror, offline=True).fetch(ref("o/r", "x", content))
    cache = tmp_path / "cache2"
    (cache / "files").mkdir(parents=True)
    (cache / "files" / "o").symlink_to(outside)
    with pytest.raises(DataError, match="link that leads out"):
        Sources(cache, None, offline=True).fetch(ref("o/r", "x", content))
    loop = tmp_path / "cache3" / "files"
    loop.mkdir(parents=True)
    (loop / "o").symlink_to(loop / "o")
    with pytest.raises(DataError):
        Sources(tmp_path / "cache3", None, offline=True).fetch(ref("o/r", "x", content))
    assert sorted(f.name for f in outside.iterdir()) == ["x"]


def test_a_cache_that_is_a_link_itself_is_the_users_choice(tmp_path: Path) -> None:
    content, real = b"content", tmp_path / "disk"
    place = real / "files" / "o" / "r" / ("c" * 40)
    place.mkdir(parents=True)
    (place / "x").write_bytes(content)
    (tmp_path / "cache").symlink_to(real)
    got = Sources(tmp_path / "cache", None, offline=True).fetch(ref("o/r", "x", content))
    assert got.read_bytes() == content
