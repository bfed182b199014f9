"""Tasks of a user's own for lm-evaluation-harness: any YAML of one task, with the functions that it names.

Such a file runs Python (`!function`). It is read only where a suite names it, it must be a local file, and a
data set that it names is data alone: from local files, or from the hub at a fixed commit.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from compact_bench.core.errors import CompactBenchError, ConfigError
from compact_bench.core.files import sha256_of
from compact_bench.core.records import fingerprint
from compact_bench.data.files.task_parts import task_parts

OWN = "task_yaml"
"""Column of a row of such a task: {"file", "task", "metric"}, and "prefix" where questions get one."""
KINDS = ("generate_until", "multiple_choice")
FEWSHOT_SEED = 1234
"""The harness's own default, so that `lm_eval run` draws the same examples."""
_GREEDY = {"do_sample": False, "num_beams": 1, "repetition_penalty": 1.0}
_PACKAGED_READERS = ("json", "csv", "parquet", "text")
"""Readers of the library `datasets` for local files."""


def task_rows(path: Path, metric: str) -> list[dict[str, Any]]:
    """Every item of a task, once everything about the task is checked.

    Args:
        path: its YAML.
        metric: the metric that is reported: a name, or "NAME,FILTER" where the task has several filters.

    Returns:
        {"id", "question", "doc", OWN}, and {"choices", "label"} where the task has options, else {"answer"};
        in the data set's order. The question is what the task asks, as it asks it.

    Raises:
        ConfigError: the task cannot be loaded or has no items, the metric is none of its or no mean of scores
            in [0, 1] per item, or it asks for what is not done here.
    """
    task = load_task(path)
    with _named(path, "its items cannot be read"):
        docs = [dict(doc) for doc in task.eval_docs]
        _check_examples(task, path, docs)
        chosen = chosen_metric(task, path, metric)
        _check_scores(task, path, docs, chosen[0])
        own = {"file": str(path), "task": str(task.config.task), "metric": ",".join(chosen)}
        rows = [{**_row(task, doc), OWN: own} for doc in docs]
    return _with_ids(docs, rows)


def load_task(path: Path, longest_tokens: int | None = None, prefix: str = "") -> Any:
    """The harness's task object of a YAML.

    Args:
        longest_tokens: of a generation where the YAML does not say; None leaves it to the harness.
        prefix: text before every question, for students that were trained to expect one.

    Raises:
        ConfigError: as `task_rows`.
    """
    from lm_eval.tasks import TaskManager
    from lm_eval.tasks._yaml_loader import load_yaml

    with _named(path, "the harness cannot load it"), _quiet():
        config = load_yaml(path)
        _refuse(path, config)
        _set_data(path, config)
        if config.get("output_type", KINDS[0]) == KINDS[0]:
            given = dict(config.get("generation_kwargs") or {})
            given.setdefault("until", [config.get("fewshot_delimiter") or "\n\n"])
            length = {} if longest_tokens is None else {"max_gen_toks": longest_tokens}
            config["generation_kwargs"] = {**_GREEDY, **length, **given}
        name = str(config["task"])
        task = TaskManager(include_defaults=False).load([config])["tasks"][name]
        if not len(task.eval_docs):
            raise ConfigError(f"{path}: expected at least one item in its test split, got none.")
        task.set_fewshot_seed(FEWSHOT_SEED)
        if task.config.num_fewshot is None:
            task.set_config(key="num_fewshot", value=0)
    score = task.process_results

    def scored(doc: Mapping[str, Any], results: Sequence[Any]) -> Mapping[str, Any]:
        scores: Mapping[str, Any] = score(doc, results)
        for metric, value in scores.items():
            _check_finite(path, str(metric), value)
        return scores

    # Before the harness takes means: what it raises names neither file nor metric.
    task.process_results = scored
    if prefix:
        ask = task.doc_to_text
        task.doc_to_text = lambda doc, *more: f"{prefix}{ask(doc, *more)}"
    return task


def chosen_metric(task: Any, path: Path, metric: str) -> tuple[str, str]:
    """Name and filter of the reported metric.

    Raises:
        ConfigError: the task has no such metric or filter, it is no mean, or lower is better.
    """
    name, comma, wanted = metric.partition(",")
    filters = [one.name for one in task._filters]
    known = task.aggregation()
    if name not in known or (comma and wanted not in filters):
        raise ConfigError(
            f"{path}: expected a metric of this task, got {metric!r}; it has the metrics {', '.join(known)} "
            f"and the filters {', '.join(filters)} (NAME, or NAME,FILTER)."
        )
    if getattr(known[name], "__name__", "") != "mean":
        raise ConfigError(f"{path}, metric {name!r}: expected the aggregation mean, over scores per item.")
    if task.higher_is_better().get(name) is False:
        raise ConfigError(f"{path}, metric {name!r}: expected one of which more is better.")
    return name, wanted or filters[0]


def task_code(path: Path) -> dict[str, str]:
    """File name -> sha256 of what defines a task: its YAML, what it includes, its functions, its examples.

    Raises:
        ConfigError: as `task_rows`, or `task_parts`.
    """
    task = load_task(path)
    examples = task.fewshot_docs() if task.config.num_fewshot else None
    files = {p.name if p.parent == path.resolve().parent else str(p): sha256_of(p) for p in task_parts(path)}
    shown = {} if examples is None else {"examples": fingerprint([_plain(dict(one)) for one in examples], 64)}
    # A folder's name is the user's affair; two files of one name in two folders stay two.
    return {
        f"{number} {Path(name).name}": code for number, (name, code) in enumerate(sorted(files.items()))
    } | shown


def _check_finite(path: Path, metric: str, value: Any) -> None:
    """Refuse a number that no mean or record can hold; what is no number is another check's.

    Raises:
        ConfigError: it is NaN, infinite or too large for a float.
    """
    if not isinstance(value, int | float):
        return
    try:
        fits = math.isfinite(float(value))
    except OverflowError:
        fits = False
    if not fits:
        shown = repr(value) if isinstance(value, float) else "an integer too large for a float"
        raise ConfigError(f"{path}, metric {metric!r}: expected a finite number of every item, got {shown}.")


def score_of(path: Path, metric: str, value: Any) -> float:
    """An item's score as a number.

    Raises:
        ConfigError: it is no number in [0, 1].
    """
    _check_finite(path, metric, value)
    if (
        isinstance(value, str | bytes | list | tuple | dict)
        or value is None
        or not 0.0 <= float(value) <= 1.0
    ):
        raise ConfigError(
            f"{path}, metric {metric!r}: expected a score in [0, 1] of every item, got {value!r}."
        )
    return float(value)


@contextmanager
def _named(path: Path, what: str) -> Iterator[None]:
    """Whatever a user's YAML or function raises, as an error that names the file."""
    try:
        yield
    except CompactBenchError:
        raise
    # A function of a user's may raise anything, or end the process.
    except (Exception, SystemExit) as error:
        lines = str(error).strip().splitlines() or [""]
        raise ConfigError(f"{path}: {what}: {type(error).__name__}: {lines[0]}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    from datasets.utils import logging as bars

    loggers = [logging.getLogger(name) for name in ("lm_eval", "datasets")]
    levels, shown = [logger.level for logger in loggers], bars.is_progress_bar_enabled()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    bars.disable_progress_bar()
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if shown:
            bars.enable_progress_bar()


def _refuse(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse what a benchmark here cannot be, before its data are read."""
    generation = dict(config.get("generation_kwargs") or {})
    problems = [
        (not isinstance(config.get("task"), str) or "group" in config, "one task with a name"),
        ("class" in config, "a task without a class of its own"),
        (config.get("output_type", KINDS[0]) not in KINDS, f"output_type {' or '.join(KINDS)}"),
        (not config.get("test_split") and not config.get("validation_split"), "a test_split"),
        (int(config.get("repeats") or 1) != 1, "repeats: 1"),
        (not _is_count(config.get("num_fewshot") or 0, 0), "num_fewshot, a whole number from 0"),
        (not _is_count(generation.get("max_gen_toks", 1), 1), "max_gen_toks, a whole number from 1"),
        (bool(generation.get("do_sample")), "greedy decoding (do_sample: false), so that results repeat"),
        (bool(config.get("unsafe_code")), "no unsafe_code: generated programs are not run"),
        (bool(config.get("doc_to_image") or config.get("doc_to_audio")), "text alone"),
    ]
    if wrong := [expected for is_wrong, expected in problems if is_wrong]:
        raise ConfigError(f"{path}: expected {'; '.join(wrong)}.")


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _check_examples(task: Any, path: Path, docs: Sequence[Mapping[str, Any]]) -> None:
    """Ask the first item with its examples: too few of them would fail after training."""
    wanted = int(task.config.num_fewshot or 0)
    there = len(list(task.fewshot_docs())) if wanted else 0
    # One that is the item itself is left out.
    spare = int(bool(wanted) and docs[0] in [dict(one) for one in task.fewshot_docs()])
    if there - spare < wanted:
        raise ConfigError(f"{path}: expected {wanted} examples (num_fewshot), got {there - spare}.")


def _set_data(path: Path, config: dict[str, Any]) -> None:
    """Local data files relative to the YAML; a data set of the hub only at a fixed commit."""
    options = dict(config.get("dataset_kwargs") or {})
    options.pop("trust_remote_code", None)
    config["dataset_kwargs"] = options
    if "custom_dataset" in config:
        return
    source = str(config.get("dataset_path", ""))
    if source in _PACKAGED_READERS:
        options["data_files"] = _local(path, options.get("data_files"))
    elif not re.fullmatch(r"[0-9a-f]{40}", str(options.get("revision", ""))):
        raise ConfigError(
            f"{path}: expected dataset_path {', '.join(_PACKAGED_READERS)} with local data_files, or a data "
            f"set of the hub with dataset_kwargs.revision, a commit of 40 hex digits; got {source!r}."
        )


def _local(path: Path, files: Any) -> Any:
    if isinstance(files, Mapping):
        return {split: _local(path, one) for split, one in files.items()}
    if isinstance(files, list):
        return [_local(path, one) for one in files]
    file = path.parent / Path(str(files)).expanduser()
    if files is None or "://" in str(files) or not file.is_file():
        raise ConfigError(f"{path}, dataset_kwargs.data_files: expected local files, got {files!r}.")
    return str(file)


def _check_scores(task: Any, path: Path, docs: Sequence[Mapping[str, Any]], name: str) -> None:
    """Score an empty answer to the first item: what fails on it would fail after training."""
    is_choice = KINDS[1] == task.OUTPUT_TYPE
    results: list[Any] = [(-1.0, False)] * len(_options(task, docs[0])) if is_choice else [""]
    scores = task.process_results(docs[0], results)
    if name not in scores:
        got = ", ".join(map(str, scores)) or "none"
        raise ConfigError(f"{path}: expected process_results to give {name!r}, got {got}.")
    score_of(path, name, scores[name])


def _row(task: Any, doc: Mapping[str, Any]) -> dict[str, Any]:
    text, target = task.doc_to_text(doc), task.doc_to_target(doc)
    row = {"doc": _plain(doc)}
    if KINDS[1] != task.OUTPUT_TYPE:
        return {"question": str(text), "answer": str(target), **row}
    choices = [str(choice) for choice in _options(task, doc)]
    # Where contexts differ instead of answers, the harness has the right one's place as the text.
    place = text if isinstance(text, int) else target[0] if isinstance(target, list) else target
    label = place if isinstance(place, int) else choices.index(str(place))
    question = " / ".join(choices) if isinstance(text, int) else str(text)
    return {"question": question, "choices": choices, "label": label, **row}


def _options(task: Any, doc: Mapping[str, Any]) -> list[Any]:
    return list(task.doc_to_choice(doc))


def _with_ids(docs: Sequence[Mapping[str, Any]], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ids of the data set's own where they tell items apart, else hashes of the items."""
    given = [str(doc.get("id", "")) for doc in docs]
    if "" in given or len({*given}) != len(given):
        given = [fingerprint(row["doc"]) for row in rows]
    seen: dict[str, int] = {}
    named = []
    for name, row in zip(given, rows, strict=True):
        seen[name] = seen.get(name, 0) + 1
        named.append({"id": name if seen[name] == 1 else f"{name}#{seen[name]}", **row})
    return named


def _plain(doc: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dict(doc), default=str, sort_keys=True))
    return plain


def texts_of(row: Mapping[str, Any]) -> list[str]:
    """Every text in which a training question may stand in a row: the question, and the item's own fields."""
    inner = row["doc"].values() if OWN in row else ()
    return [str(row["question"]), *(text for text in inner if isinstance(text, str))]
