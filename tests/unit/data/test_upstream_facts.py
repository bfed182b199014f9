"""The facts that the packaged suites state, checked on the upstream files themselves."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from compact_bench.core.answers import extract_answer, numeric_match, same_answer
from compact_bench.core.records import Question
from compact_bench.data.files.readers import read_rows
from compact_bench.data.files.rows import normalised, words
from compact_bench.data.files.sources import Sources
from compact_bench.data.suites import load_spec
from compact_bench.data.suites.loading import load_suite_data, suite_files
from compact_bench.data.suites.suite_data import SuiteData
from compact_bench.evaluation.task_files import check_rows

MIRROR = os.environ.get("COMPACT_BENCH_MIRROR")
pytestmark = pytest.mark.skipif(
    not MIRROR, reason="COMPACT_BENCH_MIRROR is not set: no upstream files at hand"
)
Load = Callable[[str], SuiteData]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    return Sources(tmp_path_factory.mktemp("cache"), Path(str(MIRROR)), offline=True)


@pytest.fixture(scope="module")
def load(sources: Sources) -> Load:
    loaded: dict[str, SuiteData] = {}

    def once(name: str) -> SuiteData:
        if name not in loaded:
            loaded[name] = load_suite_data(load_spec(name), sources)
        return loaded[name]

    return once


def everything(data: SuiteData) -> list[Question]:
    return [*data.training, *data.validation]


@pytest.mark.parametrize("name", ["gsm8k", "strategyqa", "svamp"])
def test_every_file_of_every_level_is_what_the_suite_says(name: str, sources: Sources) -> None:
    spec = load_spec(name)
    chosen = [f"{teacher.name}@{level}" for teacher in spec.teachers for level in teacher.files]
    refs = {ref for one in chosen for ref in suite_files(spec, [one])}
    assert len(refs) > len(spec.benchmarks) + len(chosen)
    assert {ref: path.stat().st_size for ref, path in sources.fetch_all(refs).items()} == {
        ref: ref.bytes for ref in refs
    }


def test_svamp_has_699_questions_of_which_100_are_validation(load: Load) -> None:
    data = load("svamp")
    assert (len(data.training), len(data.validation)) == (499, 200)
    assert {q.teachers for q in everything(data)} == {("gpt-4o", "gemini-1.5-flash", "llama-3-70b", "human")}
    (missing,) = data.excluded
    assert "SVAMP_ChatGPT_level5" in missing.where and "'gpt-4o'" in missing.problem


def test_svamp_teachers_are_wrong_7_7_1_and_0_times(load: Load) -> None:
    wrong = Counter(
        r.teacher
        for q in everything(load("svamp"))
        for r in q.rationales
        if not same_answer(extract_answer(r.text), q.gold_answer)
    )
    assert wrong == {"gpt-4o": 7, "gemini-1.5-flash": 7, "llama-3-70b": 1}
    notes = load("svamp").notes["teachers"]
    assert {name: n["wrong_by_last_answer"] for name, n in notes.items()} == {**wrong, "human": 0}
    # One says "the answer should be 5", and no "The answer is".
    assert {name: n["no_answer"] for name, n in notes.items() if n["no_answer"]} == {}


def test_the_humans_answers_are_written_as_floats(load: Load) -> None:
    texts = [r.text for q in everything(load("svamp")) for r in q.rationales if r.teacher == "human"]
    assert all(re.search(r"The answer is -?\d+\.\d+$", text.strip()) for text in texts)


def test_172_of_gpt_4os_rationales_keep_their_leading_space(load: Load) -> None:
    texts = [r.text for q in everything(load("svamp")) for r in q.rationales if r.teacher == "gpt-4o"]
    assert len(texts) == 699 and sum(text != text.lstrip() for text in texts) > 100


def test_numbers_of_items(load: Load) -> None:
    notes = load("svamp").notes
    assert notes["items"] == {
        "svamp": 300, "multiarith": 580, "addsub": 395, "singleeq": 507, "gsm8k": 1319,
        "strategyqa": 290, "csqa": 1221, "arc_easy": 2376, "piqa": 1838, "boolq": 3270, "winogrande": 1267,
    }  # fmt: skip
    assert notes["repeats"] == {"multiarith": 20, "singleeq": 1}
    check_rows(load("svamp").benchmarks)


def test_svamps_test_items_and_training_questions_make_up_its_1000(load: Load, sources: Sources) -> None:
    data = load("svamp")
    file = next(b.file for b in load_spec("svamp").benchmarks if b.task == "svamp")
    assert file.ref is not None
    rows, _ = read_rows(sources.fetch(file.ref))
    texts = {normalised(f"{r.data['Body']} {r.data['Question']}"): r.data["Answer"] for r in rows}
    assert len(texts) == 1000
    items = {normalised(row["question"]): row["answer"] for row in data.benchmarks["svamp"]}
    questions = {normalised(q.text): q.gold_answer for q in everything(data)}
    assert len(items) == 300 and not set(items) & set(questions)
    assert len(texts.keys() - items.keys() - questions.keys()) == 1
    assert all(numeric_match(answer, str(texts[key])) for key, answer in {**items, **questions}.items())


def test_140_of_300_test_questions_are_near_duplicates(load: Load) -> None:
    near = load("svamp").notes["near_duplicates"]
    assert near["svamp"] == 140
    assert {task for task, count in near.items() if count} == {"svamp", "addsub", "singleeq"}


def test_addsub_and_singleeq_share_126_questions_111_of_them_word_for_word(load: Load) -> None:
    notes, items = load("svamp").notes, load("svamp").benchmarks
    assert list(notes["shared_items"]) == ["addsub+singleeq"]
    shared = set(notes["shared_items"]["addsub+singleeq"])
    assert len(shared) == 126
    first = {row["id"]: row for row in items["addsub"]}
    second = {row["id"]: row for row in items["singleeq"]}
    apart = [key for key in shared if not numeric_match(first[key]["answer"], second[key]["answer"])]
    # 64,535 acres in dust and 522 untouched: AddSub's file subtracts.
    assert [(first[key]["answer"], second[key]["answer"]) for key in apart] == [("64013", "65057")]
    # Without joining 1,426 to 1426: words and digits as they stand.
    plain = [{" ".join(re.findall(r"\w+", row["question"].lower())) for row in items[t]}
             for t in ("addsub", "singleeq")]  # fmt: skip
    assert len(plain[0] & plain[1]) == 111


def test_many_addsub_and_singleeq_answers_are_decimals(load: Load) -> None:
    for task in ("addsub", "singleeq"):
        assert sum("." in row["answer"] for row in load("svamp").benchmarks[task]) > 100


def test_retention_options_chance_and_majority(load: Load) -> None:
    data = load("svamp")
    options = Counter(len(row["choices"]) for row in data.benchmarks["arc_easy"])
    assert options == {4: 2365, 3: 7, 5: 4}
    majority = data.notes["majority"]
    assert majority["boolq"] == pytest.approx(2033 / 3270) and majority["strategyqa"] == pytest.approx(
        154 / 290
    )
    for benchmark in load_spec("svamp").benchmarks:
        if benchmark.chance is not None:
            assert data.notes["chance"][benchmark.task] == pytest.approx(benchmark.chance, abs=0.001)


def test_winogrande_options_are_whole_sentences_that_differ(load: Load) -> None:
    for row in load("svamp").benchmarks["winogrande"]:
        assert all("_" not in choice for choice in row["choices"])
        assert len(set(row["choices"])) == 2


def test_no_item_shows_the_upstream_instruction(load: Load) -> None:
    for rows in load("svamp").benchmarks.values():
        for row in rows:
            assert not re.search(r"Please choose|Answer format|Answer Choices", row["question"])


def test_svamp_loads_quickly_from_the_cache(load: Load, sources: Sources) -> None:
    load("svamp")
    words("warm")
    start = time.perf_counter()
    load_suite_data(load_spec("svamp"), Sources(sources.cache, offline=True), profile="smoke")
    assert time.perf_counter() - start < 4


def test_a_seed_of_svamp_draws_24_of_499_questions(load: Load, sources: Sources) -> None:
    smoke, lite = (load_suite_data(load_spec("svamp"), sources, profile=p) for p in ("smoke", "lite"))
    full = load("svamp")
    assert (smoke.drawn, lite.drawn, full.drawn) == (4, 24, None)
    draws = [lite.training_of(seed) for seed in (1, 2)]
    assert draws[0] != draws[1] and all(len(set(draw)) == 24 for draw in draws)
    assert set(smoke.training_of(1)) < set(draws[0]) < set(full.training)
    assert smoke.validation == lite.validation == full.validation


def test_another_level_gives_other_texts_for_the_same_questions(load: Load, sources: Sources) -> None:
    spec = load_spec("svamp")
    other = load_suite_data(spec, sources, teachers=["human", "gpt-4o@3"], benchmarks=["svamp"])
    assert {q.teachers for q in everything(other)} == {("human", "gpt-4o")}
    base = {q.id: q for q in everything(load("svamp"))}
    assert {q.id for q in other.validation} == {q.id for q in load("svamp").validation}
    same = [q.rationales[1].text == base[q.id].rationales[0].text for q in everything(other)]
    assert sum(same) < 10
    assert other.fingerprint != load("svamp").fingerprint


def test_strategyqa_has_1995_questions_and_clean_rationales(load: Load) -> None:
    data = load("strategyqa")
    assert len(everything(data)) == 1995
    assert {q.gold_answer for q in everything(data)} == {"True", "False"}
    assert not [q.id for q in everything(data) for r in q.rationales if "<Solution Path>" in r.text]
    treated = data.notes["treated"]
    assert sum("the first is kept" in text for text in treated) == 5
    assert [text for text in treated if "ignored" in text] == [
        "stqa_human_annotation.json: 290 question(s) without a gold answer ignored"
    ]
    notes = data.notes["teachers"]
    assert {name: n["no_answer"] for name, n in notes.items()} == {
        "gpt-4o": 1, "gemini-1.5-flash": 0, "llama-3-70b": 15, "human": 0,
    }  # fmt: skip


def test_gsm8k_has_7432_questions(load: Load) -> None:
    data = load("gsm8k")
    assert len(everything(data)) == 7432
    assert {q.teachers for q in everything(data)} == {("gemini-1.5-flash", "llama-3-70b")}


def test_long_rationales_are_left_out_with_the_packaged_students_tokenizer(sources: Sources) -> None:
    from compact_bench.core.paths import cache_dir
    from compact_bench.students.packaged import packaged_student_folder, packaged_student_ready

    if not packaged_student_ready(cache_dir()):
        pytest.skip("the packaged student is not in the cache: run `compact-bench prefetch`")
    from transformers import AutoTokenizer

    from compact_bench.students.chat import encode_row, prompt_ids

    folder = packaged_student_folder(Sources(cache_dir(), offline=True))
    tokenizer = AutoTokenizer.from_pretrained(str(folder))

    def count_tokens(question: str, rationale: str) -> int:
        if not rationale:
            return len(prompt_ids(tokenizer, question))
        return len(encode_row(tokenizer, question, rationale).input_ids)

    data = load_suite_data(load_spec("svamp"), sources, count_tokens=count_tokens, benchmarks=["svamp"])
    long = [fault for fault in data.excluded if "at most 512 tokens" in fault.problem]
    assert sorted(re.findall(r"SVAMP_(\w+?)_", " ".join(f.where for f in long))) == ["gemini", *["llama"] * 3]
    assert len(everything(data)) == 699 - len({f.question_id for f in long})
