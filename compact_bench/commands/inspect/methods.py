"""Methods and their variants as the commands `list` and `show` print them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from compact_bench.core.errors import ConfigError
from compact_bench.methods.contract import SUITE_DATA, MethodCard, config_doc
from compact_bench.methods.registry import (
    get_method,
    method_names,
    method_sources,
    method_variants,
    split_name,
    variant_config,
)

VARIANTS_SHOWN = 4


def methods_table() -> Table:
    """Every method: where it comes from, what it needs and is, its variants, or why it cannot be used."""
    table = Table("method", "from", "what it is", "needs", "variants", title="methods", title_justify="left")
    for name in method_names():
        source = method_sources()[name]
        origin = source.origin
        if not source.packaged:
            # Nobody asked for it: its code is not imported.
            what = (
                f"cannot be used: {source.problem}"
                if source.problem
                else f"see show {name}, which imports it"
            )
            table.add_row(name, origin, Text(what), "", "")
            continue
        try:
            card: MethodCard = get_method(name).card
            variants = method_variants(name)
        except ConfigError as error:
            problem = Text(f"cannot be used: {' '.join(str(error).split())}", style="red")
            table.add_row(name, origin, problem, "", "")
            continue
        few = len(variants) <= VARIANTS_SHOWN
        listed = ", ".join(variants) if few else f"{len(variants)}, see show {name}"
        table.add_row(name, origin, Text(card.title), Text(", ".join(needs_of(card))), Text(listed))
    return table


def _reproduction(card: MethodCard) -> str:
    """Where it is said whether the claims hold; never whether, as only runs can tell."""
    if card.claims:
        return "what runs say of the claims: reproduce or report with --reproduction FILE"
    return card.reproduction or "its source makes no claim known here that rows can show"


def needs_of(card: MethodCard) -> list[str]:
    """What a method needs of a suite, in words."""
    gold = ["gold answers"] if card.uses_gold and not any("gold" in text for text in card.needs) else []
    says_teachers = card.min_teachers < 2 or any("teachers" in text for text in card.needs)
    teachers = [] if says_teachers else [f"{card.min_teachers} teachers"]
    required = [] if card.needs else [SUITE_DATA[data] for data in card.requires]
    return [*card.needs, *required, *gold, *teachers]


def pairs_table(title: str, rows: Sequence[tuple[str, Any]]) -> Table:
    """Names and values, a line each; a list has a line for each of its values."""
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in rows:
        lines = "\n".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        table.add_row(Text(name), Text(lines))
    return table


def field_pairs(prefix: str, model: type[BaseModel]) -> list[tuple[str, Any]]:
    """Settings "prefix.name" with their defaults."""
    return [
        (f"{prefix}.{name}", "required" if field.is_required() else json.dumps(field.default, default=str))
        for name, field in model.model_fields.items()
    ]


def method_card(name: str) -> RenderableType:
    """A method's card, settings and variants; of a variant, what it sets.

    Args:
        name: "compact" or "compact[no-consensus]".

    Raises:
        UnknownNameError: the method or variant is not registered.
        ConfigError: the method cannot be imported; its package is named.
    """
    method_name, variant = split_name(name)
    method, chosen = get_method(method_name), variant_config(method_name, variant)
    card: MethodCard = method.card
    rows = [
        ("title", card.title),
        ("row in tables", card.short or card.title),
        ("source", card.source),
        ("deviations", card.deviations or "none stated"),
        ("ours", card.ours or "none stated"),
        ("uses gold answers", "yes" if card.uses_gold else "no"),
        ("needs", needs_of(card) or "nothing beyond questions with rationales"),
        ("spends more than the schedule", card.extra_steps or "nothing"),
        ("fewest teachers", card.min_teachers),
        ("claims of its source", [f"{c.text} ({c.place})" for c in card.claims] or "none that rows can show"),
        ("reproduction", _reproduction(card)),
        ("from", method_sources()[method_name].origin),
    ]
    parts: list[RenderableType] = [pairs_table(f"method {method_name}", rows)]
    if variant:
        parts.append(pairs_table(f"variant {variant} sets", [(f"method.{k}", v) for k, v in chosen.items()]))
    fields = field_pairs("method", method.config_type)
    if fields:
        parts.append(pairs_table("settings (defaults)", fields))
        parts.append(Text(config_doc(method.config_type), style="dim"))
    if variants := method_variants(method_name):
        listed = [
            (f"{method_name}[{other}]", ", ".join(f"{k}={v}" for k, v in values.items()))
            for other, values in variants.items()
        ]
        parts.append(pairs_table("variants", listed))
    return Group(*parts)
