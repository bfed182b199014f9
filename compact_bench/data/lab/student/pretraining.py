"""Pretrain the lab's student: a small Llama on a mixture of the world's skills, decided by a seed."""

from __future__ import annotations

import itertools
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor, nn

from compact_bench.core.progress import no_progress_bars
from compact_bench.data.lab.student.settings import PretrainingSettings, StageSettings, shipped_folder
from compact_bench.data.lab.student.tokenizer import TURN_START, lab_tokenizer, turn_text
from compact_bench.data.lab.world.families import FAMILIES
from compact_bench.data.lab.world.problems import right_chain
from compact_bench.data.lab.world.questions import split_of
from compact_bench.data.lab.world.skills import facts, skill_item
from compact_bench.data.lab.world.teachers import STYLES, chain_text, seeded

LOG_FILE = "training_log.jsonl"
LOG_EVERY_STEPS = 25
PIECES = 6
"""Forward passes of a step: rows sorted by length need little padding, and a step still sees every kind."""


@dataclass(frozen=True)
class _Turn:
    """One dialogue: kind (for the log), question and answer turn."""

    kind: str
    question: str
    reply: str


def new_model(settings: PretrainingSettings, tokenizer: Any) -> Any:
    """An untrained Llama model of the asked size."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden,
        intermediate_size=settings.feed_forward,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.key_heads,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        # The default, 0.02, suits wide models; here it leaves attention flat for thousands of steps.
        initializer_range=settings.hidden**-0.5,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = LlamaForCausalLM(config)
    if settings.version > 1:
        earlier = LlamaForCausalLM.from_pretrained(shipped_folder(1), trust_remote_code=False)
        _go_on_from(model, earlier)
    return model


@torch.no_grad()
def _go_on_from(model: Any, earlier: Any) -> None:
    """Take over an earlier student's weights; words that it does not know keep their random rows."""
    rows = model.get_input_embeddings().weight
    known = earlier.get_input_embeddings().weight
    whole = torch.cat((known, rows[len(known) :]))
    model.load_state_dict(
        {**earlier.state_dict(), "model.embed_tokens.weight": whole, "lm_head.weight": whole}
    )


def pretraining_turns(settings: PretrainingSettings, stage: int = 0) -> Iterator[_Turn]:
    """Dialogues of a stage (from 0), without end; no question of another split is among them."""
    rng = seeded("pretraining", settings.seed, *([stage] if stage else []))
    mix = settings.stages[stage]
    told = _fact_turns(settings, stage)
    for number in itertools.count():
        yield from told.get(number, ())
        draw = rng.random()
        if draw < mix.direct_share:
            yield from _problem_turn(rng, settings, settings.longest_direct_steps, None)
        elif draw < mix.direct_share + mix.worked_share:
            longest = mix.longest_worked_steps if rng.random() < mix.long_worked_share else 1
            # The terse style says the same in the fewest words.
            style = rng.choices(tuple(STYLES.values()), (2, 1, 1, 1))[0]
            yield from _problem_turn(rng, settings, longest, style)
        else:
            yield from _skill_turn(rng, mix.skills or settings.skills)


def _fact_turns(settings: PretrainingSettings, stage: int) -> Mapping[int, list[_Turn]]:
    """The facts of a stage, by the number of the draw that they come before."""
    mix = settings.stages[stage]
    told: dict[int, list[_Turn]] = {}
    rng = seeded("facts", settings.seed, stage)
    for fact in facts() if mix.facts_seen[1] else ():
        for _ in range(rng.randint(*mix.facts_seen)):
            place = rng.randrange(mix.steps * settings.batch_rows)
            told.setdefault(place, []).append(_Turn("facts", fact.text, f"The answer is {fact.answer}."))
    return told


def _skill_turn(rng: random.Random, practised: Mapping[str, int]) -> Iterator[_Turn]:
    skill = rng.choices(tuple(practised), tuple(practised.values()))[0]
    item = skill_item(skill, rng)
    if item.choices or split_of(item.text) == "pretraining":
        reply = f"{item.answer}." if skill == "word" else f"The answer is {item.answer}."
        yield _Turn(skill, item.text, reply)


def _problem_turn(
    rng: random.Random, settings: PretrainingSettings, longest: int, style: str | None
) -> Iterator[_Turn]:
    family = FAMILIES[rng.choices(tuple(settings.practice), tuple(settings.practice.values()))[0]]
    problem = family.sample(rng, rng.randint(1, longest))
    if split_of(problem.kin or problem.text) != "pretraining":
        return
    chain = right_chain(family, problem)
    reply = f"The answer is {chain.answer}." if style is None else chain_text(chain, style)
    how = "direct" if style is None else "worked"
    yield _Turn(f"{how} {family.name} {len(problem.steps)}", problem.text, reply)


@dataclass(frozen=True)
class _Row:
    kind: str
    ids: tuple[int, ...]
    prompt_tokens: int


def _batches(settings: PretrainingSettings, stage: int, tokenizer: Any) -> Iterator[list[_Row]]:
    """The rows of every step, sorted by length, without end."""
    turns = pretraining_turns(settings, stage)
    while True:
        drawn = list(itertools.islice(turns, settings.batch_rows))
        # What `chat.encode_row` gives, a batch at a time: rendering its template takes longer than a step.
        texts = [f"{turn_text('user', t.question)}{turn_text('assistant', t.reply)}" for t in drawn]
        encoded = tokenizer(texts, add_special_tokens=False)["input_ids"]
        start = tokenizer.convert_tokens_to_ids(TURN_START)
        rows = [
            # The prompt ends with the role after the second turn's start.
            _Row(turn.kind, tuple(ids), ids.index(start, 1) + 2)
            for turn, ids in zip(drawn, encoded, strict=True)
        ]
        yield sorted(rows, key=lambda row: len(row.ids))


def _tensors(batch: Sequence[_Row], pad: int, prompt_weight: float) -> tuple[Tensor, Tensor]:
    """Token ids and loss weights, right-padded, [rows, tokens] both."""
    longest = max(len(row.ids) for row in batch)
    ids = torch.full((len(batch), longest), pad)
    weights = torch.zeros(len(batch), longest)
    for number, row in enumerate(batch):
        ids[number, : len(row.ids)] = torch.tensor(row.ids)
        weights[number, 1 : row.prompt_tokens] = prompt_weight
        weights[number, row.prompt_tokens : len(row.ids)] = 1.0
    return ids, weights


def learning_rate(stage: StageSettings, step: int) -> float:
    """The rate of one step of a stage: linear warm-up, then a cosine down to a twentieth of the peak."""
    if step < stage.warmup_steps:
        return stage.learning_rate * (step + 1) / stage.warmup_steps
    share = (step - stage.warmup_steps) / max(1, stage.steps - stage.warmup_steps)
    return stage.learning_rate * (0.05 + 0.95 * (1 + math.cos(math.pi * share)) / 2)


def pretrain(
    settings: PretrainingSettings,
    folder: Path,
    on_progress: Callable[[int, int, str], None] = lambda done, total, text: None,
) -> Any:
    """Pretrain a student and write it: model, tokenizer and training log.

    Returns:
        The trained transformers model.
    """
    tokenizer = lab_tokenizer(settings.version)
    model = new_model(settings, tokenizer)
    folder.mkdir(parents=True, exist_ok=True)
    done = 0
    with (folder / LOG_FILE).open("w", encoding="utf-8") as log:
        log.write(json.dumps({"settings": settings.model_dump(mode="json")}) + "\n")
        for stage, stage_settings in enumerate(settings.stages):
            for step, loss in enumerate(_train_stage(model, tokenizer, settings, stage, log), done + 1):
                on_progress(step, settings.steps, f"loss {loss:.3f}")
            done += stage_settings.steps
    save_pretrained(model, tokenizer, folder)
    return model


def save_pretrained(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write model and tokenizer as `from_pretrained` reads them."""
    model.eval()
    with no_progress_bars():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _train_stage(
    model: Any, tokenizer: Any, settings: PretrainingSettings, stage: int, log: TextIO
) -> Iterator[float]:
    """Train through one stage, step by step; yields the loss of each."""
    stage_settings = settings.stages[stage]
    model.train()
    optimiser = torch.optim.AdamW(
        model.parameters(), weight_decay=settings.weight_decay, betas=(0.9, 0.98), fused=True
    )
    tally, started, tokens = _Tally(), time.monotonic(), 0
    batches = itertools.islice(_batches(settings, stage, tokenizer), stage_settings.steps)
    for step, batch in enumerate(batches):
        rate = learning_rate(stage_settings, step)
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = _step(model, optimiser, batch, tokenizer.pad_token_id, settings, tally)
        tokens += sum(len(row.ids) for row in batch)
        if (step + 1) % LOG_EVERY_STEPS == 0 or step + 1 == stage_settings.steps:
            seconds = round(time.monotonic() - started, 1)
            line = {"stage": stage + 1, "step": step + 1, "tokens": tokens, "rate": rate, "loss": loss}
            log.write(json.dumps({**line, **tally.empty(), "seconds": seconds}) + "\n")
            log.flush()
        yield loss


def _step(
    model: Any, optimiser: Any, batch: Sequence[_Row], pad: int, settings: PretrainingSettings, tally: _Tally
) -> float:
    size = math.ceil(len(batch) / PIECES)
    pieces = [
        (rows, *_tensors(rows, pad, settings.prompt_weight))
        for rows in (batch[i : i + size] for i in range(0, len(batch), size))
    ]
    total = sum(float(weights.sum()) for _, _, weights in pieces)
    optimiser.zero_grad(set_to_none=True)
    loss_sum = 0.0
    for rows, ids, weights in pieces:
        logits = model(input_ids=ids[:, :-1]).logits
        losses = nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        loss = (losses * weights[:, 1:].flatten()).sum() / total
        loss.backward()
        tally.add(rows, logits.detach().argmax(-1), ids[:, 1:])
        loss_sum += float(loss.detach())
    nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
    optimiser.step()
    return loss_sum


class _Tally:
    """Share of dialogues whose reply is predicted right, per kind, between two lines of the log.

    A reply's first word is given: it only tells which of several ways to answer was drawn.
    """

    def __init__(self) -> None:
        self._seen: dict[str, list[int]] = {}

    def add(self, batch: Sequence[_Row], predicted: Tensor, labels: Tensor) -> None:
        """Count one batch; a greedy reply is right where, after right words, every next word is."""
        equal = predicted == labels
        for row, hits in zip(batch, equal, strict=True):
            seen = self._seen.setdefault(row.kind, [0, 0])
            seen[0] += 1
            # Entry i is about token i + 1.
            seen[1] += bool(hits[row.prompt_tokens : len(row.ids) - 1].all())

    def empty(self) -> Mapping[str, Any]:
        """The shares so far; counting starts again."""
        shares = {kind: round(right / n, 3) for kind, (n, right) in sorted(self._seen.items())}
        self._seen = {}
        return {"right": shares}
