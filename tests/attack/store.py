"""Damage to a store: after the same command is given again, results are the quiet run's, and it was said."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.attack import world
from tests.attack.bits import bits, difference
from tests.attack.cases import Verdict, dice
from tests.attack.driver import Done, filled, run_here, scratch
from tests.attack.judging import breakdown, first_line, last_line

AREA = "store"
WORDS = (*world.RUN, "--suite", world.SUITE, "--set", "checkpoint_seconds=0", "--set", "epochs=2")
EXPORT = ("export", "uniform@1", "{case}/exported", "--store", "{case}/store", "--offline")
"""Reads what a finished run left of its weights."""
SAID = re.compile(
    r"damag|checksum|sha256|made again|counts? as (?:missing|none)|corrupt|not what|no longer|cut short|unreadable|cannot be read",
    re.IGNORECASE,
)
SECONDS = 60.0
RESULTS = ("RESULTS.csv",)


@dataclass(frozen=True)
class Damage:
    """One file of the store and what is done to it.

    Attributes:
        unfinished: whether the record is taken away first, so that everything below it is read again.
        silent: whether nothing need be said, as what is lost is no result or is plainly not there.
    """

    file: str
    how: str
    apply: Callable[[Path], None]
    unfinished: bool
    silent: bool = False
    words: tuple[str, ...] = WORDS

    @property
    def name(self) -> str:
        """For people; hashes in it may move."""
        way = "unfinished run, " if self.unfinished else "export, " if self.words is EXPORT else ""
        return f"{way}{self.file}: {self.how}"


def make_world(folder: Path) -> Any:
    """The usual world, with the store, cache and output of a quiet run."""
    world.make_world(folder)
    held = world.hold_student(folder)
    quiet = folder / "quiet"
    quiet.mkdir()
    os.environ["COMPACT_BENCH_CACHE"] = str(quiet / "cache")
    done = run_here(filled(WORDS, quiet, folder), quiet, SECONDS)
    assert done.code == 0, done.err + done.problem
    return held


def damages(quiet: Path) -> Iterator[Damage]:
    """Every file that bears a result, damaged in several ways; at least fifty."""
    store = quiet / "store"
    for path in sorted(p for p in store.rglob("*") if p.is_file() and p.suffix != ".lock"):
        file = str(path.relative_to(quiet))
        is_record = path.name in ("record.json", "done", "key.json")
        for how, apply in ways(path, file):
            no_result = path.name in ("log.jsonl", "key.json") or "/tasks/" in file
            silent = no_result or how == "deleted"
            yield Damage(file, how, apply, unfinished=not is_record, silent=silent)
            if "/final/" in file:
                yield Damage(file, how, apply, unfinished=False, silent=True, words=EXPORT)
    for path in sorted((quiet / "cache").rglob("*.json")):
        file = str(path.relative_to(quiet))
        for how, apply in ways(path, file):
            yield Damage(file, how, apply, unfinished=False, silent=True)


def ways(path: Path, file: str) -> list[tuple[str, Callable[[Path], None]]]:
    """Ways to damage one file; which of the random ones is drawn by its kind and place."""
    # Names hold hashes of results, which may move; the draw must not.
    random = dice(AREA, path.name, len(path.parts))
    data = path.read_bytes()
    at = random.randrange(max(1, len(data)))
    made: list[tuple[str, Callable[[Path], None]]] = [
        ("emptied", lambda p: write(p, b"")),
        ("cut in half", lambda p: write(p, data[: len(data) // 2])),
        (f"bit flipped at {at / max(1, len(data)):.2f}", lambda p: write(p, flipped(data, at))),
        ("deleted", lambda p: p.unlink()),
    ]
    if path.suffix == ".json":
        made += [
            ("null", lambda p: write(p, b"null")),
            ("a list", lambda p: write(p, b"[]")),
            ("another number", lambda p: write(p, other_number(data))),
        ]
    return made


def write(path: Path, data: bytes) -> None:
    """Replaces a file's content."""
    path.write_bytes(data)


def flipped(data: bytes, at: int) -> bytes:
    """One bit of one byte turned over."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] if data else b"\x01"


def other_number(data: bytes) -> bytes:
    """The first digit of a JSON value's last number changed: still JSON, and wrong."""
    text = data.decode(errors="replace")
    places = [m for m in re.finditer(r"(?<=[:\s\[])(\d)(?=[\d.,\s}\]])", text)]
    if not places:
        return data + b" " if not text.startswith('"') else json.dumps("0" * 16).encode()
    at = places[len(places) // 2].start()
    return (text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :]).encode()


def run(folder: Path, share: float) -> Iterator[Verdict]:
    """Damage one file at a time in a copy and give the command again."""
    quiet = folder / "quiet"
    wanted = bits(quiet / "store")
    exported = run_here(filled(EXPORT, quiet, folder), quiet, SECONDS)
    assert exported.code == 0 and not SAID.search(exported.err), exported.err
    for damage in damages(quiet):
        if dice(AREA, damage.name).random() >= share:
            continue
        with scratch(folder / "copies") as place:
            for name in ("store", "cache"):
                shutil.copytree(quiet / name, place / name)
            if damage.unfinished:
                for path in [*place.glob("store/runs/*/done"), *place.glob("store/runs/*/record.json")]:
                    path.unlink()
            damage.apply(place / damage.file)
            os.environ["COMPACT_BENCH_CACHE"] = str(place / "cache")
            done = run_here(filled(damage.words, place, folder), place, SECONDS)
            why = complaint(damage, done, wanted, quiet).replace(str(folder), "{world}")
        kind = "failed" if why else "accepted rightly" if done.code == 0 else "refused clearly"
        yield Verdict(
            AREA, re.sub(r"[0-9a-f]{16,}", "*", damage.name), kind, why, seconds=round(done.seconds, 3)
        )


def complaint(damage: Damage, done: Done, wanted: dict[str, Any], quiet: Path) -> str:
    """What is wrong with what the command did after the damage, or ""."""
    if why := breakdown(done):
        return why
    text = done.out + done.err
    if damage.words is EXPORT:
        if done.code == 0:
            same = (_weights(done.folder), _weights(quiet))
            return "" if same[0] == same[1] else "silent wrong acceptance: other weights were exported"
        return "" if done.code == 7 else f"exit {done.code}, expected 7: {first_line(done.err)}"
    if done.code != 0:
        named = Path(damage.file).name in text or Path(damage.file).parent.name in text
        if damage.unfinished or not named:
            return (
                f"exit {done.code}, expected it to be made again: {first_line(done.err) or last_line(text)}"
            )
        return "" if done.code == 7 else f"exit {done.code}, expected 7"
    try:
        got = bits(done.folder / "store")
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"the record stays damaged: {error}"
    if why := difference(wanted, got):
        return f"silent wrong acceptance: {why}"
    for name in RESULTS:
        if (done.folder / "out" / name).read_bytes() != (quiet / "out" / name).read_bytes():
            return f"silent wrong acceptance: {name} differs"
    if not damage.silent and not SAID.search(text):
        return "the damage was mended, or passed over, without a word"
    return ""


def _weights(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((folder / "exported").rglob("*.safetensors"))]
