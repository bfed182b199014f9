"""The measured part of docs/answers.md: how often the reader is wrong, and agrees with the harness.

`python -m tests.answers_page` writes it anew; what needs upstream files stays as it is without
COMPACT_BENCH_MIRROR.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from compact_bench.core.answers import extract_answer, same_answer
from tests.architecture.sources import ROOT

PAGE = ROOT / "docs" / "answers.md"
LABELLED = ROOT / "tests" / "unit" / "core" / "answers_labelled.tsv"
MIRROR = os.environ.get("COMPACT_BENCH_MIRROR")
NOTHING = "-"
LINE_BREAK = "⏎"


class Labelled(NamedTuple):
    """A text, and what a reader says that it states (None: nothing)."""

    kind: str
    text: str
    states: str | None


def labelled() -> list[Labelled]:
    """The strings that were labelled by hand before any reader saw them.

    A label that was mended since has the old one and the reason in a fourth column.
    """
    with LABELLED.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [
        Labelled(kind, text.replace(LINE_BREAK, "\n"), None if states == NOTHING else states)
        for kind, text, states, *_ in rows
    ]


def verdict(row: Labelled) -> str:
    """right; unread, where something is stated and nothing read; or wrong."""
    read = extract_answer(row.text)
    if read is None or row.states is None:
        return "right" if read is row.states else ("unread" if read is None else "wrong")
    return "right" if same_answer(read, row.states, by_rules=True) else "wrong"


def labelled_table() -> str:
    """Kinds of strings, with how many are read rightly, and every one that is not."""
    counts: dict[str, Counter[str]] = {}
    lines = []
    for row in labelled():
        result = verdict(row)
        counts.setdefault(row.kind, Counter())[result] += 1
        if result != "right":
            read = extract_answer(row.text)
            cells = (row.text, row.states, read, result)
            lines.append("| " + " | ".join("nothing" if c is None else f"`{_flat(c)}`" for c in cells[:3]))
            lines[-1] += f" | {result} |"
    total = sum(counts.values(), Counter())
    rows = [
        f"| {kind} | {sum(c.values())} | {c['right']} | {c['wrong']} | {c['unread']} |"
        for kind, c in [*counts.items(), ("all", total)]
    ]
    head = "| kind | n | right | wrong | unread |\n|---|---|---|---|---|\n"
    errors = "| text | states | read as | |\n|---|---|---|---|\n"
    return f"{head}{chr(10).join(rows)}\n\nAll that are not right:\n\n{errors}{chr(10).join(lines)}"


def _flat(text: str) -> str:
    return text.replace("\n", LINE_BREAK).replace("|", "\\|")


class Mirrored(NamedTuple):
    """A text of an upstream file, and its gold answer where that is known."""

    text: str
    gold: str | None


def mirror_files(mirror: Path) -> Iterator[tuple[str, list[Mirrored]]]:
    """Name and texts of every upstream file that holds solutions or rationales."""
    adapters = sorted(mirror.glob("AGI-Edgerunners/**/test.json"))
    for path in adapters:
        rows = json.loads(path.read_text(encoding="utf-8"))
        yield path.parent.name, [Mirrored(row["output"], row["answer"]) for row in rows]
    for path in sorted(mirror.glob("openai/**/*.jsonl")):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
        solutions = [row["answer"] for row in rows]
        golds = [text.rpartition("####")[2].strip() for text in solutions]
        yield f"GSM8K {path.stem}", [Mirrored(t, g) for t, g in zip(solutions, golds, strict=True)]
        boxed = [f"{t.rpartition('####')[0]}\\boxed{{{g}}}" for t, g in zip(solutions, golds, strict=True)]
        yield (
            f"GSM8K {path.stem}, answer in `\\boxed{{}}`",
            [Mirrored(t, g) for t, g in zip(boxed, golds, strict=True)],
        )
    gold = _gold_of_rationales(mirror)
    for path in sorted(mirror.glob("EIT-NLP/**/data/*.json")):
        rows = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(rows, list):
            yield path.stem, [Mirrored(r["output"], gold.get(_asked(r["instruction"]))) for r in rows]


def _asked(instruction: str) -> str:
    return re.sub(r"\W+", " ", instruction).strip().casefold()


def _gold_of_rationales(mirror: Path) -> dict[str, str]:
    names = ("SVAMP_only_ans", "gsm_train_onlyans", "strategyQA_onlyans", "commonsenseQA_onlyans")
    files = (path for name in names for path in mirror.glob(f"EIT-NLP/**/data/{name}.json"))
    return {
        _asked(r["instruction"]): r["output"]
        for f in files
        for r in json.loads(f.read_text(encoding="utf-8"))
    }


Extract = Callable[[str], str | None]


@cache
def harness_filters() -> Mapping[str, Extract]:
    """The harness's own ways of reading, as its task files define them."""
    return {
        "gsm8k strict": _from_task("gsm8k/gsm8k.yaml", "strict-match"),
        "gsm8k_cot strict": _from_task("gsm8k/gsm8k-cot.yaml", "strict-match"),
        "gsm8k flexible": _from_task("gsm8k/gsm8k.yaml", "flexible-extract"),
        "gsm8k_cot strict, closed": _closed(_from_task("gsm8k/gsm8k-cot.yaml", "strict-match")),
        "mmlu strict, closed": _closed(
            _from_task("mmlu/flan_cot_zeroshot/_mmlu_flan_cot_zeroshot_template_yaml", "strict-match")
        ),
        "hendrycks_math": _boxed,
    }


def _from_task(file: str, name: str) -> Extract:
    import lm_eval
    import yaml
    from lm_eval.filters.extraction import RegexFilter

    class Loader(yaml.SafeLoader):
        """Reads task files without their functions."""

    Loader.add_multi_constructor("!", lambda loader, suffix, node: None)
    path = Path(lm_eval.__file__).parent / "tasks" / file
    task: Any = yaml.load(path.read_text(encoding="utf-8"), Loader)
    (wanted,) = [one for one in task["filter_list"] if one["name"] == name]
    options = {key: value for key, value in wanted["filter"][0].items() if key != "function"}
    reader = RegexFilter(**options)

    def extract(text: str) -> str | None:
        ((found,),) = reader.apply([[text]], [{}])
        # What the task's metric ignores.
        bare = re.sub(r"[,$]", "", found).rstrip(".").strip()
        return None if found == reader.fallback else bare

    return extract


def _closed(extract: Extract) -> Extract:
    """The same for a text with a full stop: without one these filters leave out its last character."""
    return lambda text: extract(text if text.endswith(".") else f"{text.rstrip()}.")


def _boxed(text: str) -> str | None:
    from lm_eval.tasks.hendrycks_math.utils import last_boxed_only_string, remove_boxed

    boxed = last_boxed_only_string(text)
    return None if boxed is None else remove_boxed(boxed)


def _filter_of(name: str) -> tuple[str, ...]:
    if "boxed" in name:
        return ("hendrycks_math",)
    if name.startswith("GSM8K"):
        return ("gsm8k strict", "gsm8k flexible")
    if re.search("svamp|gsm|AddSub|MultiArith|SingleEq", name, re.IGNORECASE):
        return ("gsm8k_cot strict", "gsm8k_cot strict, closed", "gsm8k flexible")
    return ("mmlu strict, closed",)


def agreement_table(mirror: Path) -> str:
    """Upstream files, with how often the reader and the harness's filter read the same."""
    lines = [
        "| file | texts | filter | same | both, differ | gold: ours / its | only ours | only its | neither |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, texts in mirror_files(mirror):
        ours = [extract_answer(row.text) for row in texts]
        for filter_name in _filter_of(name):
            count = _compare(texts, ours, harness_filters()[filter_name])
            gold = f"{count['ours is gold']} / {count['its is gold']}" if count["differ"] else ""
            cells = (
                name, len(texts), filter_name, count["same"], count["differ"], gold,
                count["only ours"], count["only its"], count["neither"],
            )  # fmt: skip
            lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines)


def _compare(texts: list[Mirrored], ours: list[str | None], extract: Extract) -> Counter[str]:
    count: Counter[str] = Counter()
    for row, mine in zip(texts, ours, strict=True):
        its = extract(row.text)
        if mine is None or its is None:
            count["neither" if mine is its else "only its" if mine is None else "only ours"] += 1
        elif same_answer(mine, its, by_rules=True):
            count["same"] += 1
        else:
            count["differ"] += 1
            if row.gold is not None:
                count["ours is gold"] += same_answer(mine, row.gold, by_rules=True)
                count["its is gold"] += same_answer(its, row.gold, by_rules=True)
    return count


def part(text: str, name: str) -> str:
    """What stands between the page's marks of a part."""
    return text.partition(f"<!-- {name}:begin -->\n")[2].partition(f"\n<!-- {name}:end -->")[0]


def _with_part(text: str, name: str, content: str) -> str:
    before, begin, rest = text.partition(f"<!-- {name}:begin -->\n")
    _, end, after = rest.partition(f"\n<!-- {name}:end -->")
    return f"{before}{begin}{content}{end}{after}"


def main() -> None:
    """Write the page's measured parts."""
    text = _with_part(PAGE.read_text(encoding="utf-8"), "labelled", labelled_table())
    if MIRROR:
        text = _with_part(text, "agreement", agreement_table(Path(MIRROR)))
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
