"""The engines give the same items, and the fast one steps back where it could not."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from compact_bench.core.errors import ConfigError
from compact_bench.core.settings import EvalSettings
from compact_bench.evaluation.bridge import evaluate
from compact_bench.evaluation.cache import read_items
from compact_bench.evaluation.engines import choosing as engines_module
from compact_bench.evaluation.engines.choosing import EnginePath, Engines, choose_path
from compact_bench.evaluation.engines.stopping import is_over, stopping_reason
from compact_bench.evaluation.guards import quiet_harness, read_only
from tests.unit.evaluation.test_bridge import SETTINGS, benchmarks, number_rows

if TYPE_CHECKING:
    from compact_bench.students.student import Student

Load = Callable[..., "Student"]
GREEDY: dict[str, Any] = {"do_sample": False, "num_beams": 1, "repetition_penalty": 1.0}


def items(student: Student, cache: Path, engine: str) -> dict[str, list[dict[str, Any]]]:
    settings = SETTINGS.model_copy(update={"engine": engine, "batch_size": 3})
    results = evaluate(student, benchmarks(), settings, weights_hash="w", cache_dir=cache / engine)
    return {task: read_items(cache / engine, "w", result.cache_key) for task, result in results.items()}


@pytest.mark.parametrize(
    ("kind", "tokenizer"),
    [("llama", "llama3"), ("qwen2", "chatml"), ("qwen3", "chatml_merging"), ("phi", "chatml"),
     ("phi3", "chatml"), ("gemma3", "gemma")],
)  # fmt: skip
def test_both_engines_give_the_same_items(load_tiny: Load, tmp_path: Path, kind: str, tokenizer: str) -> None:
    student = load_tiny(kind, tokenizer, seed=2)
    plain, fast = items(student, tmp_path, "harness"), items(student, tmp_path, "fast")
    for task in plain:
        for expected, got in zip(plain[task], fast[task], strict=True):
            nats = expected.pop("loglikelihoods_nats", [])
            assert got.pop("loglikelihoods_nats", []) == pytest.approx(nats, rel=1e-5, abs=1e-5)
            assert got == expected


@pytest.mark.slow
@pytest.mark.network
def test_both_engines_give_the_same_items_of_a_real_student(tmp_path: Path) -> None:
    from compact_bench.students.student import PACKAGED_STUDENT, load_student

    names = ("Mary", "Tom", "Ada", "Ben", "Zoe")
    things = ("an apple", "a long wooden ladder", "rain", "seven books", "the old railway station")
    numbers = [
        {
            "id": f"q{n}",
            "question": f"{names[n % 5]} had {n + 7} apples" + ", ate one" * (n % 4) + ". How many are left?",
            "answer": str(n + 7 - n % 4),
        }
        for n in range(20)
    ]
    choices = [
        {"id": f"c{n}", "question": f"What does {names[n % 5]} carry home?" + " Think." * (n % 3),
         "choices": [*things[n % 3 :], f"{n} {things[0]}"], "label": 0}
        for n in range(20)
    ]  # fmt: skip
    student = load_student(PACKAGED_STUDENT, dtype="float32", device="cpu")
    tasks = {"svamp": numbers, "csqa": choices}
    found: dict[str, Any] = {}
    for engine in ("harness", "fast"):
        settings = EvalSettings(engine=engine, batch_size=6, max_new_tokens=48)
        results = evaluate(student, tasks, settings, weights_hash="w", cache_dir=tmp_path / engine)
        assert {result.engine for result in results.values()} == {engine}
        found[engine] = {t: read_items(tmp_path / engine, "w", r.cache_key) for t, r in results.items()}
    assert found["fast"]["svamp"] == found["harness"]["svamp"]
    for expected, got in zip(found["harness"]["csqa"], found["fast"]["csqa"], strict=True):
        nats = expected.pop("loglikelihoods_nats")
        assert got.pop("loglikelihoods_nats") == pytest.approx(nats, abs=1e-3)
        assert got == expected


def generated(student: Student, engine: Any, until: Sequence[str], longest: int = 12) -> list[str]:
    options = {**GREEDY, "max_gen_toks": longest}
    settings = EvalSettings(batch_size=4, max_new_tokens=longest)
    lm = Engines(student.model, student.tokenizer, settings).get(EnginePath(engine))
    prompts = [
        lm.apply_chat_template([{"role": "user", "content": row["question"]}]) for row in number_rows(9)
    ]
    requests = [SimpleNamespace(args=(prompt, {**options, "until": list(until)})) for prompt in prompts]
    with quiet_harness(), read_only(student.model):
        texts: list[str] = lm.generate_until(requests)
    return texts


def path(student: Student, until: Sequence[str] = ()) -> EnginePath:
    options = {**GREEDY, "max_gen_toks": 12, "until": list(until)}
    return choose_path(student.model, student.tokenizer, "fast", generation=True, options=options)


def test_stop_sequences_cut_where_the_harness_cuts(load_tiny: Load) -> None:
    student = load_tiny(seed=1)
    free = generated(student, "harness", ())
    cut = 0
    for text in free:
        middle = len(text) // 2
        until = [text[middle : middle + 3], text[-2:]]
        if path(student, until).engine == "fast":
            expected = generated(student, "harness", until)
            assert generated(student, "fast", until) == expected
            cut += expected != free
    assert cut > 2


def test_a_stop_sequence_frees_the_slot_early(load_tiny: Load) -> None:
    student = load_tiny(seed=1)
    texts = generated(student, "harness", (), 60)
    common = next(letter for letter in texts[0] if all(letter in text for text in texts))
    passes = 0

    def count(*_: Any) -> None:
        nonlocal passes
        passes += 1

    handle = student.layout.backbone(student.model).register_forward_hook(count)
    generated(student, "fast", (), 60)
    without, passes = passes, 0
    generated(student, "fast", [common], 60)
    handle.remove()
    assert passes < without


def test_a_settled_stop_sequence_is_waited_for() -> None:
    over = is_over(lambda ids: "".join(map(chr, ids)), ["ab"])
    assert not over([ord(c) for c in "xxab"]) and not over([ord(c) for c in "xxab1234567"])
    assert over([ord(c) for c in "xxab12345678"])
    assert not is_over(lambda ids: "ab" * 50, [])([1])


def test_what_depends_on_the_harness_s_batches_is_left_to_it(load_tiny: Load) -> None:
    student = load_tiny()
    assert path(student) == EnginePath("fast")
    assert path(student, ["\n\n", "\n", "Question:", "</s>"]) == EnginePath("fast")
    assert "special token '<|im_start|>'" in path(student, ["<|im_start|>user"]).reason
    assert "overlap" in path(student, ["bc", "ab"]).reason
    assert "overlap" in path(student, ["x\ny", "\n"]).reason
    settings: Any = student.model.generation_config
    settings.eos_token_id = [7, 9]
    assert "'<|im_end|>' does not end" in path(student).reason
    settings.eos_token_id = [7, student.tokenizer.eos_token_id]
    assert stopping_reason(student.model, student.tokenizer, []) == ""
    settings.max_new_tokens = 5
    assert "max_new_tokens=5" in path(student).reason


def test_a_student_s_own_longest_generation_goes_first_in_both_engines(
    load_tiny: Load, tmp_path: Path
) -> None:
    student = load_tiny()
    settings: Any = student.model.generation_config
    settings.max_new_tokens = 2
    plain, fast = items(student, tmp_path, "harness"), items(student, tmp_path, "fast")
    assert fast["svamp"] == plain["svamp"]


def test_contexts_that_are_too_long_are_cut_as_the_harness_cuts_them(load_tiny: Load) -> None:
    student = load_tiny(max_position_embeddings=24)
    engines = Engines(student.model, student.tokenizer, EvalSettings(batch_size=4))
    context, options = list(range(5, 45)), ([50, 51, 52], [53], list(range(60, 84)))
    wanted = [(("", ""), context[:length], option) for length in (3, 21, 22, 40) for option in options]
    with quiet_harness(), read_only(student.model):
        plain, fast = (
            engines.get(EnginePath(engine))._loglikelihood_tokens(wanted, disable_tqdm=True)
            for engine in ("harness", "fast")
        )
    assert [nats for nats, _ in fast] == pytest.approx([nats for nats, _ in plain], rel=1e-5)


@dataclass
class StrictParameters:
    """The fields of vLLM's SamplingParams that the harness can set; others are refused, as there."""

    max_tokens: int
    stop: list[str]
    temperature: float = 1.0
    repetition_penalty: float = 1.0
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True


@dataclass
class TransformersAsVLLM:
    """vLLM's `LLM` as far as the harness calls it, decoding by transformers."""

    model: str
    dtype: str
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.student: Any = AutoModelForCausalLM.from_pretrained(self.model, dtype=self.dtype)
        self.tokenizer = AutoTokenizer.from_pretrained(self.model)
        config = SimpleNamespace(max_model_len=self.student.config.max_position_embeddings)
        self.llm_engine = SimpleNamespace(model_config=config)

    def generate(self, prompts: Any, sampling_params: Sequence[StrictParameters], **_: Any) -> list[Any]:
        outputs = []
        for prompt, parameters in zip(prompts, sampling_params, strict=True):
            assert parameters.temperature == 0
            ids = torch.tensor([prompt["prompt_token_ids"]])
            new = self.student.generate(ids, max_new_tokens=parameters.max_tokens, do_sample=False)
            text = self.tokenizer.decode(
                new[0, ids.shape[1] :], skip_special_tokens=parameters.skip_special_tokens
            )
            outputs.append(SimpleNamespace(outputs=[SimpleNamespace(text=text)]))
        return outputs


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package `vllm` that decodes by transformers, in the place of the real one."""
    folders = []

    def make(model: str, dtype: str, **options: Any) -> TransformersAsVLLM:
        folders.append(Path(model))
        return TransformersAsVLLM(model, dtype, options)

    contents: dict[str, dict[str, Any]] = {
        "vllm": {"LLM": make, "SamplingParams": StrictParameters, "TokensPrompt": dict},
        "vllm.lora": {},
        "vllm.lora.request": {"LoRARequest": object},
        "vllm.tokenizers": {"get_tokenizer": _tokenizer},
        "vllm.renderers": {},
        "vllm.renderers.hf": {"resolve_chat_template": lambda tokenizer, **_: tokenizer.chat_template},
    }
    for name, values in contents.items():
        module = ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        module.__path__ = []
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("lm_eval.models.vllm_causallms", "compact_bench.evaluation.engines.vllm_model"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    known = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda n: "0.11.0" if n == "vllm" else known(n))
    monkeypatch.setattr(engines_module, "_need_vllm", lambda model: None)
    yield
    for name in ("lm_eval.models.vllm_causallms", "compact_bench.evaluation.engines.vllm_model"):
        sys.modules.pop(name, None)
    assert folders and not any(folder.exists() for folder in folders)


def _tokenizer(name: str, **_: Any) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(name)


def test_vllm_writes_generations_from_a_copy_of_the_student(
    vllm: None, load_tiny: Load, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    student = load_tiny()
    with torch.no_grad():
        student.layout.head(student.model).weight.add_(0.05)  # the copy holds the weights as they are now
    settings = SETTINGS.model_copy(update={"engine": "vllm"})
    results = evaluate(student, benchmarks(), settings, weights_hash="w", cache_dir=tmp_path / "vllm")
    assert [(r.engine, r.engine_reason) for r in results.values()] == [
        ("vllm", ""),
        ("fast", ""),
        ("fast", ""),
    ]
    expected = items(student, tmp_path, "harness")["svamp"]
    assert read_items(tmp_path / "vllm", "w", results["svamp"].cache_key) == expected


def test_vllm_without_vllm_or_a_gpu_is_refused(
    load_tiny: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = load_tiny()
    settings = SETTINGS.model_copy(update={"engine": "vllm"})

    def run() -> None:
        evaluate(student, benchmarks(), settings, weights_hash="w", cache_dir=tmp_path)

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install vllm"):
        run()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(ConfigError, match="expected a GPU, got cpu"):
        run()
