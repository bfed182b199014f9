"""A student's files as a model and a tokenizer: whole, finite, without code of their own, or refused."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compact_bench.core.errors import StudentError
from compact_bench.core.progress import no_progress_bars
from compact_bench.students.chat import check_template, encode_row, first_line, freeze_dates

_SHOWN = 5


def load_model(name: str, folder: Path, dtype: torch.dtype) -> Any:
    """The causal LM of a folder, on the CPU, with every weight from its safetensors files.

    Raises:
        StudentError: files are damaged; weights are missing, left over or not finite; or the folder wants its
            own code to be run.
    """
    from transformers import AutoModelForCausalLM

    with no_progress_bars(), _quiet(), _foreign(f"student {name!r} could not be loaded as a causal LM"):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            # Left open, transformers asks on the terminal whether to run a folder's code.
            trust_remote_code=False,
            # Shapes that differ are listed by name below, with everything else that does not fit.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    model, found = loaded
    _check_whole(name, folder, model, found)
    _check_finite(name, model)
    return model


def check_files(name: str, folder: Path) -> None:
    """Look at what is in a student's folder before any library does.

    Raises:
        StudentError: config.json is no model's, or the weights are not there as safetensors.
    """
    _check_config(name, folder)
    _check_weight_files(name, folder)


def _check_config(name: str, folder: Path) -> None:
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        config = f"no JSON ({first_line(error)})"
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        got = config if isinstance(config, str) else repr(config)[:60]
        raise StudentError(
            f"student {name!r}: expected {folder / 'config.json'} to be an object with a model_type, as "
            f"`save_pretrained` writes it, got {got}. Copy or download the student again."
        )
    if (folder / "adapter_config.json").exists():
        raise StudentError(
            f"student {name!r}: expected a whole student, got {folder / 'adapter_config.json'}, which names "
            "another one to be loaded in its place. Merge the adapters and save the merged student."
        )


def _check_weight_files(name: str, folder: Path) -> None:
    if any(folder.glob("*.safetensors")):
        return
    pickled = sorted(p.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for p in folder.glob(pattern))
    got = f"only {', '.join(pickled[:_SHOWN])}, whose loading can run code" if pickled else "none"
    raise StudentError(
        f"student {name!r}: expected weights as *.safetensors in {folder}, got {got}. Load it elsewhere and "
        "save it with `save_pretrained`, or take a revision that has safetensors."
    )


def _check_whole(name: str, folder: Path, model: Any, found: Any) -> None:
    """Refuse what transformers would fill at random or leave aside."""
    missing, left_over = sorted(found["missing_keys"]), sorted(found["unexpected_keys"])
    shapes = sorted(found["mismatched_keys"])
    problems = [
        *(f"{key} is missing" for key in missing[:_SHOWN]),
        *(f"{key} is in the files but not in the model of config.json" for key in left_over[:_SHOWN]),
        *(f"{key} has shape {tuple(got)}, not {tuple(own)}" for key, got, own in shapes[:_SHOWN]),
    ]
    more = sum(max(0, len(found) - _SHOWN) for found in (missing, left_over, shapes))
    rest = f"; and {more} more" if more else ""
    if problems:
        raise StudentError(
            f"student {name!r}: expected the files of {folder} to hold exactly the weights of its "
            f"config.json, got {'; '.join(problems)}{rest}. A missing weight would be filled at random. Copy "
            "or download the student again, with the config.json that it was saved with."
        )


def _check_finite(name: str, model: nn.Module) -> None:
    bad = [n for n, p in model.named_parameters() if not _all_finite(p.detach())]
    if bad:
        raise StudentError(
            f"student {name!r}: expected finite weights, got NaN or infinity in {_listed(bad)}. Copy or "
            "download the student again; a training that diverged leaves such weights."
        )


def check_vocabulary(name: str, model: Any, tokenizer: Any) -> None:
    """Refuse a tokenizer that writes tokens which the model has no embedding of.

    Raises:
        StudentError: it does.
    """
    rows = int(model.get_input_embeddings().weight.shape[0])
    # Added tokens may lie beyond (an image's place in a text-only student); those of a turn may not.
    used = (*encode_row(tokenizer, "question", "answer").input_ids, int(tokenizer.vocab_size) - 1)
    if max(used) >= rows:
        raise StudentError(
            f"student {name!r}: expected token ids below {rows}, the rows of the model's embedding, got a "
            f"tokenizer that writes {max(used)}. Model and tokenizer are of different students."
        )


def _all_finite(weight: Tensor) -> bool:
    # A sum is one pass without a mask in memory; only a sum that overflows needs the second look.
    return bool(torch.isfinite(weight.sum())) or bool(torch.isfinite(weight).all())


def load_tokenizer(name: str, folder: Path) -> Any:
    """The fast tokenizer of a folder, with a chat template that was tried and whose dates are frozen.

    Raises:
        StudentError: it cannot be loaded, is not fast, or has no chat template that works.
    """
    from transformers import AutoTokenizer

    with _foreign(f"the tokenizer of student {name!r} could not be loaded"):
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if not tokenizer.is_fast:
        raise StudentError(
            f"student {name!r} has no fast tokenizer (tokenizer.json), which maps tokens to characters."
        )
    if not isinstance(tokenizer.chat_template, str) or not tokenizer.chat_template.strip():
        raise StudentError(
            f"student {name!r} has no chat template: expected one in tokenizer_config.json or "
            "chat_template.jinja. Use the instruction-tuned student, or add a template to the folder."
        )
    tokenizer.chat_template = freeze_dates(tokenizer.chat_template)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    check_template(tokenizer, name)
    return tokenizer


@contextmanager
def _foreign(what: str) -> Iterator[None]:
    """Whatever a library raises over foreign files, as one `StudentError`."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    # A panic of the tokenizers library is no Exception.
    except BaseException as error:
        if "trust_remote_code" in str(error):
            why = "it brings code of its own, which is never run"
            mend = "give a student of a type that transformers knows by itself."
        else:
            why = first_line(error)
            mend = (
                "a file of the folder is damaged, or does not fit the others or this transformers: "
                "copy the folder again from where it came, or write it again with `save_pretrained`."
            )
        raise StudentError(f"{what}: {why}. To mend: {mend}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """transformers' report of what does not fit stays unsaid: the error names it."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    rest = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + rest
