"""Student folders that are damaged, that do not fit together, or that bring code of their own."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.attack import world
from tests.attack.cases import STORE, STUDENT, Accepted, Case, Either, Expected, Refused, dice

AREA = "students"
WORDS = (*world.PLAN, "--suite", world.SUITE, "--student", "{case}/student")
GOOD: dict[str, bytes] = {}
"""The files of the world's student, read once."""
REFUSED = Refused(STUDENT | STORE, ("student",))
"""A file of the folder that cannot be read at all is a place's fault too."""
MARKER = "CODE_OF_THE_FOLDER_RAN"
CODE = f"import pathlib\npathlib.Path({MARKER!r}).write_text('ran')\n"
Change = Callable[[Path], None]


def make_world(folder: Path) -> Any:
    """The usual world; its student's files are kept to be changed."""
    world.make_world(folder)
    GOOD.clear()
    GOOD.update({path.name: path.read_bytes() for path in (folder / "student").iterdir()})
    return world.hold_student(folder)


def case(name: str, change: Change, expected: Expected = REFUSED, seconds: float = 30.0) -> Case:
    """A student with a change."""

    def prepare(folder: Path) -> None:
        student = folder / "student"
        student.mkdir()
        for file, data in GOOD.items():
            (student / file).write_bytes(data)
        change(student)

    return Case(AREA, name, WORDS, expected, prepare=prepare, seconds=seconds, stratum=name.split(":")[0])


def content(file: str, data: bytes) -> Change:
    """Replaces a file."""
    return lambda student: (student / file).write_bytes(data)


def edited(file: str, **values: Any) -> Change:
    """Changes keys of a JSON file; `...` takes one out."""

    def change(student: Path) -> None:
        data = json.loads((student / file).read_text(encoding="utf-8"))
        for key, value in values.items():
            if value is ...:
                data.pop(key, None)
            else:
                data[key] = value
        (student / file).write_text(json.dumps(data), encoding="utf-8")

    return change


def gone(file: str) -> Change:
    """Removes a file."""
    return lambda student: (student / file).unlink()


def instead(file: str, kind: str) -> Change:
    """Puts something that is no plain file in a file's place."""

    def change(student: Path) -> None:
        (student / file).unlink()
        if kind == "folder":
            (student / file).mkdir()
        else:
            (student / file).symlink_to(file if kind == "loop" else "nothing")

    return change


def tensors(edit: Callable[[dict[str, Any]], None]) -> Change:
    """Rewrites the weights after an edit of the dictionary of tensors."""

    def change(student: Path) -> None:
        from safetensors.torch import load_file, save_file

        weights = load_file(student / "model.safetensors")
        edit(weights)
        save_file(weights, student / "model.safetensors", metadata={"format": "pt"})

    return change


def cases() -> Iterator[Case]:
    """All of the area."""
    yield case("sound: as it is", lambda student: None, Accepted())
    yield from file_cases()
    yield from config_cases()
    yield from weight_cases()
    yield from template_cases()
    yield from code_cases()


def file_cases() -> Iterator[Case]:
    """Every file missing, empty, cut, of another kind, and with bytes changed."""
    needed = ("config.json", "model.safetensors", "tokenizer.json")
    for file in needed:
        yield case(f"{file}: missing", gone(file))
        for kind in ("folder", "loop", "broken link"):
            yield case(f"{file}: a {kind}", instead(file, kind))
        for name, data in {"empty": b"", "NULs": b"\x00" * 64, "a list": b"[]", "null": b"null", "a number": b"7", "text": b"hello",
                           "an object": b"{}", "UTF-16": "{}".encode("utf-16"), "deep": b"[" * 50_000}.items():  # fmt: skip
            yield case(f"{file}: {name}", content(file, data))
        whole = GOOD_SIZES.get(file, 600)
        random = dice(AREA, file)
        for _ in range(10):
            share = random.random()
            yield case(f"{file}: cut at {share:.3f} of {whole}", cut(file, share))
    for file in ("tokenizer_config.json", "generation_config.json"):
        for name, data in {"empty": b"", "a list": b"[]", "null": b"null", "cut": b'{"a": '}.items():
            either = Either(
                REFUSED, Accepted(), "a student without this file is whole, a damaged one may be refused"
            )
            yield case(f"{file}: {name}", content(file, data), either)
    stray: dict[str, bytes] = {"README.md": b"hello", "notes.bin": b"\x00\x01", ".hidden": b""}
    for file, data in stray.items():
        yield case(f"sound: beside {file}", content(file, data), Accepted())


GOOD_SIZES: dict[str, int] = {}


def cut(file: str, share: float) -> Change:
    """Cuts a file after a share of its bytes."""

    def change(student: Path) -> None:
        data = (student / file).read_bytes()
        (student / file).write_bytes(data[: int(len(data) * share)])

    return change


def config_cases() -> Iterator[Case]:
    """Values of config.json that cannot be, or do not fit the weights."""
    for values in (
        {"model_type": ...}, {"model_type": "nothing"}, {"model_type": 7}, {"model_type": "../x"}, {"model_type": "bert"},
        {"model_type": None}, {"hidden_size": 0}, {"hidden_size": -1}, {"hidden_size": "x"}, {"hidden_size": 33},
        {"hidden_size": None}, {"hidden_size": 64}, {"num_hidden_layers": 0}, {"num_hidden_layers": 1}, {"num_hidden_layers": 3},
        {"num_hidden_layers": -1}, {"num_hidden_layers": "two"}, {"num_attention_heads": 3}, {"num_attention_heads": 0},
        {"num_attention_heads": 8}, {"num_key_value_heads": 3}, {"num_key_value_heads": 4}, {"intermediate_size": 49},
        {"vocab_size": 10}, {"vocab_size": 9999}, {"vocab_size": -5}, {"tie_word_embeddings": False}, {"head_dim": 7},
        {"hidden_act": "nothing"}, {"architectures": ["BertModel"], "model_type": "bert"}, {"rms_norm_eps": "x"},
        {"rope_parameters": {"rope_type": "nothing"}},
    ):  # fmt: skip
        yield case(f"config: {values}", edited("config.json", **values))
    for values in ({"extra": 1}, {"transformers_version": "0.0.1"}, {"_name_or_path": "/nowhere"}):
        yield case(f"sound: config {values}", edited("config.json", **values), Accepted())


def weight_cases() -> Iterator[Case]:
    """Tensors that are missing, too many, of another shape, or no numbers."""
    layer = "model.layers.{}.self_attn.q_proj.weight"

    def missing(name: str) -> Change:
        return tensors(lambda w: w.pop(name))

    def added(name: str, like: str) -> Change:
        return tensors(lambda w: w.update({name: w[like].clone()}))

    def filled(name: str, value: float, at: int | None) -> Change:
        def edit(weights: dict[str, Any]) -> None:
            if at is None:
                weights[name].fill_(value)
            else:
                weights[name].view(-1)[at] = value

        return tensors(edit)

    names = [
        layer.format(0),
        layer.format(1),
        "model.norm.weight",
        "model.embed_tokens.weight",
        "model.layers.1.mlp.up_proj.weight",
    ]
    for name in names:
        yield case(f"weights: without {name}", missing(name))
        for value in (float("nan"), float("inf"), float("-inf")):
            yield case(f"weights: one {value} in {name}", filled(name, value, 3))
        yield case(f"weights: all NaN in {name}", filled(name, float("nan"), None))
        yield case(f"weights: transposed {name}", tensors(lambda w, n=name: reshape(w, n)))
        whole = Either(REFUSED, Accepted(), "the file says these numbers, if in an unusual type")
        yield case(
            f"weights: integers in {name}", tensors(lambda w, n=name: w.update({n: w[n].long()})), whole
        )
    yield case("weights: a third layer", added(layer.format(2), layer.format(1)))
    yield case("weights: a stray tensor", added("nothing.weight", layer.format(1)))
    yield case("weights: a bias", added("model.layers.0.self_attn.q_proj.bias", "model.norm.weight"))
    yield from weight_file_cases()


def weight_file_cases() -> Iterator[Case]:
    """The file of weights as a whole: its types, its header, its place."""
    yield case("weights: none", tensors(lambda w: w.clear()))
    for kind in ("half", "bfloat16", "double"):
        change = tensors(lambda w, k=kind: w.update({n: getattr(t, k)() for n, t in w.items()}))
        yield case(f"sound: weights as {kind}", change, Accepted())
    for name, size in {
        "zero": 0,
        "one": 1,
        "huge": 2**62,
        "negative": 2**64 - 1,
        "past the end": 10**9,
    }.items():
        head = struct.pack("<Q", size)
        yield case(
            f"weights: a header of {name} bytes", lambda s, h=head: overwrite(s / "model.safetensors", 0, h)
        )
    for n in range(12):
        random = dice(AREA, "header", n)
        at, byte = random.randrange(9, 200), bytes([random.randrange(32, 127)])
        either = Either(REFUSED, Accepted(), "a byte of the header that says nothing may change")
        yield case(
            f"weights: header byte {at} = {byte!r}",
            lambda s, a=at, b=byte: overwrite(s / "model.safetensors", a, b),
            either,
        )
    yield case("weights: a pickle only", lambda s: (s / "model.safetensors").rename(s / "pytorch_model.bin"))
    index = {"metadata": {}, "weight_map": {"model.norm.weight": "../../x.safetensors"}}

    def indexed(student: Path) -> None:
        (student / "model.safetensors").unlink()
        (student / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")

    yield case("weights: an index that points outside", indexed)


def reshape(weights: dict[str, Any], name: str) -> None:
    """Gives a tensor another shape of equal size."""
    weights[name] = weights[name].reshape(-1, 1).contiguous()


def overwrite(path: Path, at: int, data: bytes) -> None:
    """Changes bytes of a file in place."""
    old = path.read_bytes()
    path.write_bytes(old[:at] + data + old[at + len(data) :])


CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEMPLATES = {
    "empty": "", "blank": " \n", "a syntax error": "{% for %}", "an open block": "{% if true %}", "raises": "{{ raise_exception('no') }}",
    "an unknown name": "{{ nothing.at.all }}", "an index too far": CHATML + "{{ messages[5]['content'] }}", "divides by zero": "{{ 1 / 0 }}",
    "an unknown filter": "{{ 'a' | nothing }}", "an include": "{% include 'x' %}", "an import": "{% import 'os' as os %}{{ os }}",
    "ignores the turns": "hello", "ignores the assistant": "{{ messages[0]['content'] }}", "capitals": CHATML.replace("['content']", "['content'] | upper"),
    "reversed": CHATML.replace("['content']", "['content'] | reverse"), "cut": CHATML.replace("['content']", "['content'][:5]"),
    "said twice": CHATML.replace("{{ message['content'] }}", "{{ message['content'] }}{{ message['content'] }}"),
    "the class tree": "{{ ''.__class__.__mro__[1].__subclasses__() }}", "globals": "{{ cycler.__init__.__globals__.os.system('touch " + MARKER + "') }}",
    "an endless loop": "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}" + CHATML,
    "endless recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "a huge text": "{{ 'a' * 3000000000 }}" + CHATML,
    "a huge power": "{{ 10 ** (10 ** 8) }}" + CHATML, "no end of turn": CHATML.replace("<|im_end|>\n", ""),
    "random": CHATML + "{{ range(10 ** 6) | random }}",
}  # fmt: skip


def template_cases() -> Iterator[Case]:
    """Chat templates that cannot be used."""
    for name, template in TEMPLATES.items():
        yield case(f"template: {name}", content("chat_template.jinja", template.encode()), seconds=40.0)
    yield case("template: missing", gone("chat_template.jinja"))
    yield case("template: not UTF-8", content("chat_template.jinja", b"\xff\xfe{{"))
    sound = {"dates": CHATML + "{# {{ date_string }} #}", "a comment": "{# hello #}" + CHATML}
    for name, template in sound.items():
        yield case(
            f"sound: template with {name}", content("chat_template.jinja", template.encode()), Accepted()
        )


def code_cases() -> Iterator[Case]:
    """Folders that bring Python: nothing of it may run, and nobody may be asked whether it should."""

    def with_code(student: Path, file: str, values: dict[str, Any]) -> None:
        for name in ("modeling_own.py", "configuration_own.py", "tokenization_own.py"):
            (student / name).write_text(CODE, encoding="utf-8")
        edited(file, **values)(student)

    maps = {
        "a model": ("config.json", {"auto_map": {"AutoModelForCausalLM": "modeling_own.Own"}}),
        "a configuration": ("config.json", {"auto_map": {"AutoConfig": "configuration_own.Own"}, "model_type": "own"}),
        "all": ("config.json", {"auto_map": {"AutoConfig": "configuration_own.Own", "AutoModelForCausalLM": "modeling_own.Own"}, "model_type": "own"}),
        "an architecture": ("config.json", {"architectures": ["Own"], "model_type": "own", "auto_map": {"AutoModelForCausalLM": "modeling_own.Own"}}),
        "a tokenizer": ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["tokenization_own.Own", None]}, "tokenizer_class": "Own"}),
        "code of another repository": ("config.json", {"auto_map": {"AutoConfig": "org/name--configuration_own.Own"}, "model_type": "own"}),
    }  # fmt: skip
    for name, (file, values) in maps.items():
        known = "model_type" not in values
        either = Either(
            REFUSED, Accepted(), "the type is one that transformers knows; the folder's code is left alone"
        )
        yield case(
            f"code: {name}", lambda s, f=file, v=values: with_code(s, f, v), either if known else REFUSED
        )
    yield case(
        "code: generate.py",
        lambda s: (
            [(s / d).mkdir() or (s / d / "generate.py").write_text(CODE) for d in ("custom_generate",)]
        ),
        Accepted(),
    )
    assert shutil
