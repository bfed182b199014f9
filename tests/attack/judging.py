"""Holds what a command did against what was expected of it."""

from __future__ import annotations

import re
import unicodedata

from tests.attack.cases import Accepted, Case, Either, Expected, Refused, Verdict
from tests.attack.driver import SECRET, Done, error_log

EXIT_BUG = 70
LONGEST_MESSAGE = 20_000
GUIDANCE = re.compile(
    r"expected|to mend|did you mean|known:|should|must|give |use |missing|no such|not a valid|is not one of|"
    r"not in the range|choose|cannot|take |needs|requires|is not a|lists every|at line|no file named|try|check|add |delete|pass ",
    re.IGNORECASE,
)
_PROMPT = re.compile(r"\[y/N\]|Do you accept|custom code", re.IGNORECASE)


def judge(case: Case, done: Done, lane: str = "in process") -> Verdict:
    """The verdict on a command that ended.

    Args:
        lane: "in process" or "real command"; only in the first are values looked at.
    """
    why = breakdown(done) or _complaint(case.expected, done, values=lane == "in process")
    # Folders of this run mean nothing to a reader of its results.
    why = why.replace(str(done.folder), "{case}").replace(str(done.folder.parent.parent), "{area}")
    kind = "failed" if why else "accepted rightly" if done.code == 0 else "refused clearly"
    return Verdict(case.area, case.name, kind, why, lane, round(done.seconds, 3), case.words)


def breakdown(done: Done) -> str:
    """What no command may do, whatever was given to it."""
    if done.problem == "hang":
        return f"hang: no end after {done.seconds:.0f} s"
    if done.problem:
        return f"raised out of main: {done.problem}"
    if done.code == EXIT_BUG:
        return f"exit code 70: {error_log(done.folder, done.err) or last_line(done.err)}"
    if "Traceback (most recent call last)" in done.out + done.err:
        return f"traceback: {last_line(done.err)}"
    if SECRET in done.out + done.err:
        return "a secret of the environment was printed"
    if any(done.folder.rglob("CODE_OF_THE_FOLDER_RAN")):
        return "code of a folder was run"
    if _PROMPT.search(done.out + done.err):
        return "the user was asked to run code of a folder"
    if raw := [c for c in done.out + done.err if c not in "\n\t\r" and unseen(c)]:
        return f"printed the raw character U+{ord(raw[0]):04X}"
    return ""


def unseen(character: str) -> bool:
    """Whether a character steers a terminal or a line's direction instead of being seen."""
    kind = unicodedata.category(character)
    return (
        kind == "Cc" or kind == "Cs" or character in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    )


def _complaint(expected: Expected, done: Done, values: bool) -> str:
    if isinstance(expected, Either):
        wanted = expected.accepted if done.code == 0 else expected.refused
        return _complaint(wanted, done, values)
    if isinstance(expected, Accepted):
        if done.code != 0:
            return f"expected acceptance, got exit {done.code}: {first_line(done.err)}"
        return expected.check(done) if values and expected.check is not None else ""
    if done.code == 0:
        return "silent wrong acceptance: expected a refusal, got exit 0"
    return unclear(expected, done)


def unclear(expected: Refused, done: Done) -> str:
    """What a refusal's message lacks, or ""."""
    text = done.err
    if done.code not in expected.codes:
        codes = ", ".join(map(str, sorted(expected.codes)))
        return f"expected exit {codes}, got {done.code}: {first_line(text)}"
    errors = len(re.findall(r"^Error: |─ Error ─", text, re.MULTILINE))
    if errors != 1:
        return f"expected one message, got {errors}: {first_line(text)}"
    if len(text) > LONGEST_MESSAGE:
        return f"a message of {len(text)} characters"
    if not GUIDANCE.search(text):
        return f"the message does not say what to do: {first_line(text)}"
    # A message is wrapped into a box where the library of options wrote it.
    flat = re.sub(r"[\s│╭╮╰╯─]+", "", text).casefold()
    for wanted in expected.says:
        ways = (wanted,) if isinstance(wanted, str) else wanted
        if not any(re.sub(r"\s+", "", way).casefold() in flat for way in ways):
            return f"the message does not name {' or '.join(map(repr, ways))}: {first_line(text)}"
    return ""


def first_line(text: str) -> str:
    """The first line of an error message, shortened."""
    lines = [line.strip(" │") for line in text.splitlines() if line.strip(" │╭╮╰╯─")]
    errors = [n for n, line in enumerate(lines) if line.startswith("Error") or "─ Error" in line]
    start = errors[0] if errors else 0
    return " / ".join(lines[start : start + 3])[:300]


def last_line(text: str) -> str:
    """The last line of a text, shortened."""
    return (text.strip().splitlines() or [""])[-1][:300]
