"""Students trained apart are averaged: in the weights that they compute with, not in their adapters' factors.

An adapter's update is s*B@A, and the mean of products is not the product of means. The mean update of
several adapters has a higher rank than one adapter can hold, so what the mean factors leave over goes into
the frozen weight beneath them: the averaged student computes with exactly the mean weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from compact_bench.core.errors import DamageError, StoreError
from compact_bench.core.files import check_folder, sealed_folder
from compact_bench.students.number_formats import widen_weights

_FILE, _MARK = "weights.safetensors", "mark"


def adapted_layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """The layers that carry a LoRA adapter, by name."""
    from peft.tuners.lora import LoraLayer

    for name, module in model.named_modules():
        if isinstance(module, LoraLayer) and module.active_adapters:
            yield name, module


def trained_weights(model: nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters that are trained, by name."""
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


def restore(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Set a model's parameters by name, in place."""
    with torch.no_grad():
        parameters = dict(model.named_parameters())
        for name, value in weights.items():
            parameters[name].copy_(value)


def _updates(model: nn.Module) -> dict[str, Tensor]:
    """What each adapter adds to its layer's weight, by the weight's name."""
    updates = {}
    for name, layer in adapted_layers(model):
        parts = [layer.get_delta_weight(adapter).detach() for adapter in layer.active_adapters]
        updates[f"{name}.base_layer.weight"] = torch.stack(parts).sum(dim=0)
    return updates


class BranchMean:
    """The running mean of branches of one student; the branches themselves need not be kept."""

    def __init__(self) -> None:
        self.count = 0
        self._parameters: dict[str, Tensor] = {}
        self._updates: dict[str, Tensor] = {}

    def add(self, model: nn.Module) -> None:
        """Add the student as one branch left it to the mean; all branches share their frozen weights."""
        # Divided once, in `write_into`: a running mean would divide, and round, at every branch.
        for sums, values in ((self._parameters, trained_weights(model)), (self._updates, _updates(model))):
            for name, value in values.items():
                sums[name] = sums[name] + value if self.count else value.clone()
        self.count += 1

    def write_into(self, model: nn.Module) -> None:
        """Make the student the mean of the branches, in place: adapters get the mean factors, the weights
        beneath them the rest. A single branch is kept bit for bit.
        """
        if self.count == 1:
            restore(model, self._parameters)
            return
        restore(model, {name: total / self.count for name, total in self._parameters.items()})
        # Beneath a narrow weight most of what the mean factors leave over would round to nothing.
        widen_weights(model)
        rest = {name: self._updates[name] / self.count - update for name, update in _updates(model).items()}
        parameters = dict(model.named_parameters())
        with torch.no_grad():
            for name, value in rest.items():
                parameters[name].add_(value.to(parameters[name].dtype))


def save_weights(path: Path, model: nn.Module, mark: Mapping[str, Any]) -> None:
    """Keep a student's trained parameters, the weights beneath its adapters, and a mark that `load_weights`
    compares, in a folder; whole or not at all.
    """
    parameters = dict(model.named_parameters())
    beneath = {
        n: parameters[n].detach() for n in (f"{name}.base_layer.weight" for name, _ in adapted_layers(model))
    }
    tensors = {n: t.cpu().contiguous() for n, t in {**trained_weights(model), **beneath}.items()}
    with sealed_folder(path) as draft:
        save_file(tensors, draft / _FILE, metadata={_MARK: json.dumps(dict(mark), sort_keys=True)})


def load_weights(path: Path, model: nn.Module, mark: Mapping[str, Any]) -> None:
    """Load into a student, in place, what `save_weights` kept with the same mark.

    Raises:
        DamageError: they are damaged; where a run's `fit` raises it, the run trains from its start.
        StoreError: they are of another run.
    """
    from safetensors import safe_open

    check_folder(path)
    try:
        tensors = load_file(path / _FILE)
        with safe_open(path / _FILE, framework="pt") as stream:
            got = json.loads((stream.metadata() or {}).get(_MARK, "{}"))
    except (OSError, ValueError, SafetensorError) as error:
        raise DamageError(f"{path}: these weights cannot be read ({error})") from None
    parameters = dict(model.named_parameters())
    fits = all(
        name in parameters and parameters[name].shape == value.shape for name, value in tensors.items()
    )
    if got != json.loads(json.dumps(dict(mark))) or not fits:
        raise StoreError(
            f"{path}: expected weights of {dict(mark)} of this student, got those of {got}; "
            "delete the folder they are in, and the run trains again."
        )
    restore(model, tensors)
