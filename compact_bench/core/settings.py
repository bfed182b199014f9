"""Every setting of a run, validated; `--set key=value` changes any of them and so the run's hash."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_serializer,
)

from compact_bench.core.errors import ConfigError
from compact_bench.core.written.names import shown
from compact_bench.core.written.toml_files import read_toml_file
from compact_bench.core.written.values import LARGEST_COUNT, LARGEST_SEED, not_as_written, read_value

_FAULTS_SHOWN = 50
"""A file of a million wrong keys is told in as many lines."""

Positive = Annotated[int, Field(ge=1, le=LARGEST_COUNT)]
Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
NonNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
LongRows = Literal["fault", "truncate"]
Group = Literal["in_distribution", "out_of_distribution", "retention"]


class Strict(BaseModel):
    """Frozen model that refuses unknown fields, NaN, and every value that it could only take for another
    (true for 1, "5" for 5); base of every settings class.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @field_validator("*", mode="wrap")
    @classmethod
    def _as_written(cls, given: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        taken = handler(given)
        if problem := not_as_written(given, taken):
            raise ValueError(problem)
        return taken


Model = TypeVar("Model", bound=Strict)


class LoraSettings(Strict):
    """Low-rank adapters (peft). `enabled=false` trains every weight.

    Source: the released code's defaults (rank 16, alpha 32, dropout 0.1, all linear layers).
    """

    enabled: bool = True
    rank: Positive = 16
    alpha: Rate = 32.0
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    targets: (
        Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
        | Literal["all-linear"]
    ) = "all-linear"


class TrainSettings(Strict):
    """The optimisation loop, the same for every method.

    Attributes:
        dtype: "auto" computes in bfloat16 where the hardware does so natively, else in float32.
        questions_per_step: questions whose mean loss is one forward and backward pass.
        accumulation: forward passes per optimiser step.
        epochs: passes over the training questions.
        warmup_steps: optimiser steps of linear warm-up before the constant rate.
        max_length_tokens: longest row.
        long_rows: what a longer row is: a data "fault", which stops or drops its question (--on-fault), or
            something to "truncate" at max_length_tokens, as COMPACT's authors do.
        layout: "packed" puts a question's branches behind one shared prompt, "padded" uses one row per
            branch, "auto" packs where the student allows it.
        head: how logits at labels are computed: "single_pass" computes each label's gradient beside its loss
            and keeps no logits (a frozen, plain head only), "recomputed" goes piece by piece and computes
            the pieces again in the backward pass, "at_once" keeps all logits, "auto" takes the first of
            single_pass, at_once (if it fits into logits_memory_mib) and recomputed that is possible.
        logits_memory_mib: logits and their gradient up to this size are kept by head=auto.
        kernels: "plain" layers are transformers' and peft's, "lean" ones do the same with fewer passes over
            memory, "liger" ones are those of the package liger-kernel (GPU; checked against the plain ones
            before the first step), "auto" is lean on CPUs in float32 and plain elsewhere.
        checkpoint_seconds: at most this long between two checkpoints (0: after every step).
        tracker: where metrics are sent besides the run directory.
    """

    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    epochs: Positive = 2
    learning_rate: Rate = 2e-4
    weight_decay: NonNegative = 0.01
    warmup_steps: Count = 2
    clip_norm: Rate = 1.0
    questions_per_step: Positive = 1
    accumulation: Positive = 4
    gradient_checkpointing: bool = False
    max_length_tokens: Positive = 2560
    long_rows: LongRows = "fault"
    layout: Literal["auto", "packed", "padded"] = "auto"
    head: Literal["auto", "single_pass", "recomputed", "at_once"] = "auto"
    logits_memory_mib: Count = 512
    kernels: Literal["auto", "plain", "lean", "liger"] = "auto"
    checkpoint_seconds: NonNegative = 60.0
    tracker: Literal["none", "tensorboard", "trackio", "wandb"] = "none"

    @model_serializer(mode="wrap")
    def _unsaid_where_default(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # So that runs keep the hash that they had before long rows could be truncated.
        data: dict[str, Any] = handler(self)
        return {name: value for name, value in data.items() if (name, value) != ("long_rows", "fault")}


class EvalSettings(Strict):
    """What is evaluated and how.

    Attributes:
        items_per_task: the first n items of every task, or None for all.
        max_new_tokens: longest generation.
        batch_size: rows per batch, or sequences decoded together; part of what a result depends on.
        engine: "fast" encodes a shared context once and refills decoding slots as sequences end, "harness"
            is lm-evaluation-harness as it is, "vllm" lets vLLM write the generations.
        drift_passages: neutral passages used by the drift probe, or None for all.
        validation_questions: validation questions used for nats, or None for all.
        validation_accuracy: whether answers to validation questions are generated and scored; runs that
            something is chosen among, of single teachers and trials, always do it.
        answered_questions: how many validation questions those answer, or None for all.
        groups: groups of benchmarks that are evaluated, or None for all.
    """

    items_per_task: Positive | None = None
    max_new_tokens: Positive = 256
    batch_size: Positive = 25
    engine: Literal["fast", "harness", "vllm"] = "fast"
    drift_passages: Positive | None = None
    validation_questions: Positive | None = None
    validation_accuracy: bool = False
    answered_questions: Positive | None = None
    groups: Annotated[tuple[Group, ...], Field(min_length=1)] | None = None

    @field_validator("groups")
    @classmethod
    def _once_each(cls, value: tuple[Group, ...] | None) -> tuple[Group, ...] | None:
        if value is not None and len(set(value)) < len(value):
            raise ValueError("expected every group once")
        return value

    @model_serializer(mode="wrap")
    def _unsaid_where_unset(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # So that runs keep the hash that they had before these could be set.
        data: dict[str, Any] = handler(self)
        late = {"groups": None, "answered_questions": None, "validation_accuracy": False}
        return {name: value for name, value in data.items() if name not in late or value != late[name]}


class RunSettings(Strict):
    """All settings of a run. `method` holds the overrides of the method's own configuration."""

    train: TrainSettings = TrainSettings()
    lora: LoraSettings = LoraSettings()
    eval: EvalSettings = EvalSettings()
    method: dict[str, Any] = {}


SECTIONS: dict[str, type[Strict]] = {"train": TrainSettings, "lora": LoraSettings, "eval": EvalSettings}


def setting_names(method_fields: Sequence[str] = ()) -> Iterator[str]:
    """Full names of all settings ("train.learning_rate", ..., "method.<field>")."""
    for section, model in SECTIONS.items():
        for field in model.model_fields:
            yield f"{section}.{field}"
    for field in method_fields:
        yield f"method.{field}"


def read_toml(path: Path, model: type[Model]) -> Model:
    """A TOML file as a model.

    Raises:
        ConfigError: the file is no TOML or has wrong fields; all of them are listed.
    """
    return validated(model, read_toml_file(path, path.name), path.name)


def describe_validation_error(error: ValidationError, where: str) -> str:
    """All faults of a pydantic error of `where` ("--set", a file), a line each, without pydantic's links."""
    faults = error.errors()
    lines = [f"{where}: {len(faults)} value(s) not as expected"]
    for item in faults[:_FAULTS_SHOWN]:
        path = shown(".".join(str(p) for p in item["loc"]))
        got = _got(item["input"])
        # A whole table or a long text says less than the place does.
        what = "" if isinstance(item["input"], dict | list) or len(got) > 200 else f" (got {got})"
        lines.append(f"  - {path or 'as a whole'}: {item['msg']}{what}")
    if len(faults) > _FAULTS_SHOWN:
        lines.append(f"  - and {len(faults) - _FAULTS_SHOWN:,} more")
    return shown("\n".join(lines), lines=True)


def _got(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:
        return "a whole number of thousands of digits"


def validated(model: type[Model], data: Mapping[str, Any], where: str) -> Model:
    """Data as a model.

    Raises:
        ConfigError: every fault of it, as `describe_validation_error` writes them.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError(describe_validation_error(error, where)) from None


def apply_overrides(
    base: RunSettings, overrides: Sequence[str], method_fields: Mapping[str, Any] | None = None
) -> RunSettings:
    """Apply `key=value` overrides; a bare key works where it names one setting only.

    Args:
        overrides: texts such as "train.learning_rate=1e-4", "dtype=float32", "temperature=0.5". Values
            are read by `read_value`.
        method_fields: fields of the methods' configurations, each with its type.

    Raises:
        ConfigError: an override is malformed, names nothing, names several things, or has a wrong value;
            every fault is listed.
    """
    data = base.model_dump()
    types = {f"method.{name}": annotation for name, annotation in (method_fields or {}).items()}
    for section, model in SECTIONS.items():
        types |= {f"{section}.{name}": field.annotation for name, field in model.model_fields.items()}
    names = list(setting_names(tuple(method_fields or ())))
    problems: list[str] = []
    for text in overrides:
        key, sign, raw = text.partition("=")
        if not sign or not key.strip():
            problems.append(f"{shown(text)!r}: expected key=value")
            continue
        full = _resolve(key.strip(), names, problems)
        if full is None:
            continue
        section, _, field = full.partition(".")
        try:
            data[section][field] = read_value(raw, types[full])
        except ValueError as error:
            problems.append(f"{full}: {error}")
    if problems:
        raise ConfigError(
            "--set: " + "; ".join(problems) + ". `compact-bench show settings` lists every setting."
        )
    return validated(RunSettings, data, "--set")


def with_changes(model: Model, overrides: Sequence[str], option: str) -> Model:
    """Flat settings with `key=value` overrides applied; of two with one key the later counts.

    Args:
        overrides: texts such as "slip_rate=0.2".
        option: the option that gave them, for messages.

    Raises:
        ConfigError: an override is malformed, names nothing or has a wrong value; every fault is listed.
    """
    fields = type(model).model_fields
    problems: list[str] = []
    changes: dict[str, Any] = {}
    for text in overrides:
        key, sign, raw = (part.strip() for part in text.partition("="))
        if not sign or not key or not raw:
            problems.append(f"{shown(text)!r}: expected key=value")
        elif key not in fields:
            hint = _near(key, {name: name for name in fields}) or "."
            problems.append(f"{shown(key)!r} names no setting{hint} Known: {', '.join(fields)}")
        else:
            try:
                changes[key] = read_value(raw, fields[key].annotation)
            except ValueError as error:
                problems.append(f"{key}: {error}")
    if problems:
        raise ConfigError(f"{option}: {'; '.join(problems)}.")
    return validated(type(model), {**model.model_dump(), **changes}, option)


def _resolve(key: str, names: Sequence[str], problems: list[str]) -> str | None:
    if key in names:
        return key
    hits = [name for name in names if name.split(".", 1)[1] == key]
    if len(hits) == 1:
        return hits[0]
    if hits:
        problems.append(f"{shown(key)!r} names several settings: {', '.join(hits)}")
        return None
    hint = _near(key.split(".")[-1], {name.split(".", 1)[1]: name for name in names})
    problems.append(f"{shown(key)!r} names no setting{hint}")
    return None


def _near(key: str, names: Mapping[str, str]) -> str:
    near = difflib.get_close_matches(key, names, n=3, cutoff=0.5)
    return f", did you mean {' or '.join(names[n] for n in near)}?" if near else ""


def merged(base: RunSettings, changes: Mapping[str, Mapping[str, Any]], where: str) -> RunSettings:
    """`base` with a suite's or profile's nested changes applied.

    Raises:
        ConfigError: a value is wrong; `where` is named.
    """
    data = base.model_dump()
    for section, values in changes.items():
        data.setdefault(section, {})
        data[section] = {**data[section], **values}
    return validated(RunSettings, data, where)
