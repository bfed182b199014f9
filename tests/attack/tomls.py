"""Definition files written as TOML: how a good one is changed, and what a change of one field means."""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.attack.cases import ANY, USAGE, Accepted, Case, Either, Expected, Refused, dice
from tests.attack.driver import Done
from tests.attack.kinds import REFUSE, right_values

MARK = "@@value@@"
VALUES = (
    "0", "1", "3", "-1", "1.0", "0.5", "1.5", "-0.5", "inf", "-inf", "nan", "1e400", "99999999999999999999", "true",
    "false", '""', '" "', '"text"', '"3"', '"true"', '"../x"', '"a\\u0000b"', '"a\\nb"', '"\\u001b[31mx"', '"\\u202ex"',
    '"|x|"', '"<b>"', "[]", "[1]", '["a"]', "[[1]]", "[true]", "[0.5]", "{}", "{a = 1}", "1979-05-27",
    "1979-05-27T07:32:00Z", "07:32:00", "0x10", "1_000", '"' + "x" * 5000 + '"',
)  # fmt: skip
"""TOML values that a field may be given."""


@dataclass(frozen=True)
class Definition:
    """One kind of file.

    Attributes:
        good: its content.
        fields: path ("rows.0.title") -> kind.
        loose: fields whose sound values may not fit the rest of the file; they may be refused for that.
        required: paths without which the file must be refused.
        optional: paths without which it is taken.
        read: what the product read: (command, path) -> value; None: not looked at.
    """

    area: str
    file: str
    words: tuple[str, ...]
    good: Mapping[str, Any]
    fields: Mapping[str, Any]
    loose: frozenset[str]
    required: Sequence[str]
    optional: Sequence[str] = ()
    read: Callable[[Done, str], Any] | None = None
    extra: Mapping[str, bytes] = field(default_factory=dict)

    def case(self, name: str, data: bytes, expected: Expected) -> Case:
        """One file."""
        files = {**self.extra, self.file: data}
        return Case(self.area, f"{self.file}: {name}", self.words, expected, files, stratum=self.file)


def written(value: Any) -> str:
    """Plain data as a TOML value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {written(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(written, value)) + "]"
    return json.dumps(value)


def _key(name: str) -> str:
    return name if name.replace("_", "a").replace("-", "a").isalnum() and name.isascii() else json.dumps(name)


def document(content: Mapping[str, Any]) -> str:
    """A whole file."""
    return "".join(f"{_key(name)} = {written(value)}\n" for name, value in content.items())


def with_field(content: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one field set; a missing one is added."""
    made: dict[str, Any] = copy.deepcopy(dict(content))
    holder: Any = made
    *way, last = path.split(".")
    for step in way:
        holder = holder[int(step)] if isinstance(holder, list) else holder.setdefault(step, {})
    holder[int(last) if isinstance(holder, list) else last] = value
    return made


def without_field(content: Mapping[str, Any], path: str) -> dict[str, Any]:
    """A copy without one field."""
    made: dict[str, Any] = copy.deepcopy(dict(content))
    holder: Any = made
    *way, last = path.split(".")
    for step in way:
        holder = holder[int(step)] if isinstance(holder, list) else holder[step]
    del holder[int(last) if isinstance(holder, list) else last]
    return made


def cases_of(definition: Definition) -> Iterator[Case]:
    """All changes of one kind of file."""
    yield definition.case("as it is", document(definition.good).encode(), Accepted())
    yield from value_cases(definition)
    yield from shape_cases(definition)
    yield from text_cases(definition)


def value_cases(definition: Definition) -> Iterator[Case]:
    """Every field with every value."""
    for path, kind in definition.fields.items():
        for text in VALUES:
            value = tomllib.loads(f"x = {text}")["x"]
            data = document(with_field(definition.good, path, MARK)).replace(json.dumps(MARK), text)
            readings = [v for v in right_values(kind, (value,)) if v is not REFUSE]
            name = next(part for part in reversed(path.split(".")) if not part.isdigit())
            places = (
                definition.file,
                name,
                f"{definition.file.removesuffix('.toml')} {definition.good.get('name', '')}",
            )
            refused = Refused(ANY - {1}, (places,) if not readings else ())
            if not readings:
                # Most values are wrong for most fields: a drawn part of them will do.
                if dice(definition.file, path, text).random() >= 0.6:
                    continue
                yield definition.case(f"{path} = {text[:30]}", data.encode(), refused)
                continue
            taken = Accepted(_has(definition, path, readings))
            large = isinstance(value, int) and abs(value) >= 2**31
            strict = path in definition.loose or readings[0] is not value or _steers(value) or large
            reason = "the value may not fit the others, or is read strictly"
            expected = Either(Refused(ANY - {1}), taken, reason) if strict else taken
            yield definition.case(f"{path} = {text[:30]}", data.encode(), expected)


def _steers(value: Any) -> bool:
    return isinstance(value, str) and (not value.isprintable() or not value.strip() or len(value) > 200)


def _has(definition: Definition, path: str, readings: Sequence[Any]) -> Callable[[Done], str] | None:
    read = definition.read
    if read is None:
        return None

    def check(done: Done) -> str:
        value = read(done, path)
        plain = list(value) if isinstance(value, tuple) else value
        good = any(plain == v and isinstance(plain, bool) == isinstance(v, bool) for v in readings)
        stripped = isinstance(plain, str) and plain in [str(v).strip() for v in readings]
        return "" if good or stripped else f"{path}: expected {readings[0]!r:.60}, got {plain!r:.60}"

    return check


def shape_cases(definition: Definition) -> Iterator[Case]:
    """Fields left out, unknown ones, and tables that are something else."""
    for path in definition.required:
        name = next(part for part in reversed(path.split(".")) if not part.isdigit())
        data = document(without_field(definition.good, path)).encode()
        yield definition.case(f"without {path}", data, Refused(ANY - {1}, ((definition.file, name),)))
    for path in definition.optional:
        data = document(without_field(definition.good, path)).encode()
        yield definition.case(f"without {path}", data, Accepted())
    parents = sorted({path.rpartition(".")[0] for path in definition.fields})
    for parent in parents:
        for name in ("nothing", "titel", "Title", "__class__", "model_config", "a b", "\u200b", "\x1b[31m"):
            path = f"{parent}.@" if parent else "@"
            data = document(with_field(definition.good, path, 1)).replace('"@"', json.dumps(name)).encode()
            says = ((definition.file, name, path.split(".")[-2] if parent else name),)
            yield definition.case(f"{name!r} in {parent or 'the file'}", data, Refused(USAGE | {3}, says))
        for text in ("1", '"x"', "[]", "{}", "true", "[1]", "[{}]") if parent else ():
            data = (
                document(with_field(definition.good, parent, MARK)).replace(json.dumps(MARK), text).encode()
            )
            part = next(part for part in reversed(parent.split(".")) if not part.isdigit())
            lacks = text in ("{}", "[]") and not any(
                path.startswith(parent + ".") for path in definition.required
            )
            refused = Refused(ANY - {1}, ((definition.file, part),) if not lacks else ())
            maybe = Either(refused, Accepted(), "nothing in it is required")
            yield definition.case(f"{parent} is {text}", data, maybe if lacks else refused)


def text_cases(definition: Definition) -> Iterator[Case]:
    """Files that are cut, changed or encoded otherwise, held against the standard library's reader."""
    data = document(definition.good).encode()
    random = dice(definition.area, definition.file)
    changed: dict[str, bytes] = {}
    for _ in range(25):
        cut = random.randrange(len(data))
        changed[f"cut at {cut}"] = data[:cut]
        at, mark = random.randrange(len(data)), random.choice(b'[]{}"=,\n\t 0.\x00\xff#')
        changed[f"{bytes([mark])!r} put at {at}"] = data[:at] + bytes([mark]) + data[at:]
    first = data.split(b"\n")[0]
    changed |= {
        "empty": b"", "a comment": b"# nothing\n", "JSON": json.dumps(definition.good).encode(), "the first line twice": first + b"\n" + data,
        "UTF-16": data.decode().encode("utf-16"), "a BOM": b"\xef\xbb\xbf" + data, "CRLF": data.replace(b"\n", b"\r\n"),
        "CR": data.replace(b"\n", b"\r"), "NULs": b"\x00" * 100, "deep": b"x = " + b"[" * 5000, "YAML": b"a: 1\nb: 2\n",
        "a million keys": b"".join(b"k%d = 1\n" % n for n in range(30_000)),
    }  # fmt: skip
    for name, text in changed.items():
        try:
            same = tomllib.loads(text.decode()) == definition.good
        except (ValueError, RecursionError):
            if name == "CR":
                continue  # Lines end so on old systems; whether the reader knows is its own affair.
            refused = Refused(ANY - {1}, (definition.file,))
            told = (
                Either(refused, Accepted(), "a byte order mark may be passed over")
                if name == "a BOM"
                else refused
            )
            yield definition.case(name, text, told)
            continue
        refused = Refused(ANY - {1})
        either = Either(refused, Accepted(), "it is still TOML; whether it is sound is the file's to say")
        lost = Refused(ANY - {1}, (definition.file,))
        empty = name in ("empty", "a comment", "a million keys")
        yield definition.case(name, text, Accepted() if same else lost if empty else either)
