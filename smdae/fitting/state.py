"""Everything that a fit carries from one step to the next, and its one file, so that a broken fit can go on.

The file is safetensors: tensors under the names model.*, average.*, best.*, optimiser.*, generator; the numbers and the
settings as JSON in the metadata. Nothing is pickled.
"""

import copy
import json
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Generator, Tensor, nn

from smdae.errors import ModelError
from smdae.fitting.optimisers import OPTIMISERS
from smdae.fitting.settings import Settings

__all__ = ["State"]


@dataclass
class State:
    """A fit under way.

    Attributes:
        settings: What was asked for.
        model: The model whose parameters descend.
        average: Its exponential moving average: the one that is validated and kept.
        optimiser: What moves the model's parameters.
        generator: Source of every draw.
        best: The average's weights at the best validation so far.
        record: The numbers below, by name.
        parameters: Those of the model.
        averages: Those of the average, in the same order.
    """

    settings: Settings
    model: nn.Module
    average: nn.Module
    optimiser: torch.optim.Optimizer
    generator: Generator
    best: dict[str, Tensor]
    record: dict[str, Any] = field(
        default_factory=lambda: {
            "step": 0,
            "steps": None,
            "seconds": 0.0,
            "best": None,
            "stale": 0,
            "before": None,
        }
    )

    parameters: list[Tensor] = field(init=False)
    averages: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        # Walking through the modules for them would take longer than averaging them.
        self.parameters, self.averages = [*self.model.parameters()], [*self.average.parameters()]

    @classmethod
    def start(cls, model: nn.Module, settings: Settings, generator: Generator) -> Self:
        """The state before the first step."""
        optimiser = OPTIMISERS[settings.optimiser](model, settings.lr, settings.weight_decay)
        average = copy.deepcopy(model).requires_grad_(False)
        return cls(settings, model, average, optimiser, generator, _copy(average))

    def keep(self) -> None:
        """Remember the average as the best so far."""
        self.best = _copy(self.average)

    def tensors(self) -> dict[str, Tensor]:
        """All that a fit which goes on needs, but for numbers."""
        tensors = {"generator": self.generator.get_state()}
        for part, values in (
            ("model", self.model.state_dict()),
            ("average", self.average.state_dict()),
            ("best", self.best),
        ):
            tensors |= {f"{part}.{name}": tensor for name, tensor in values.items()}
        for index, slots in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": tensor for name, tensor in slots.items()}
        return tensors

    def to_bytes(self) -> bytes:
        """The file."""
        tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in self.tensors().items()}
        record = {"record": self.record, "settings": self.settings.model_dump(mode="json")}
        return save_tensors(tensors, {"format": "smdae-state", "version": "1", "state": json.dumps(record)})

    def restore(self, data: bytes, name: str) -> None:
        """Take over from a file made by `to_bytes` of a fit with the same settings.

        Raises:
            ModelError: The file is damaged, or of a fit with other settings; the message names the first that differs.
        """
        record, settings, tensors = _read(data, name)
        for key, now in self.settings.model_dump(mode="json").items():
            then = settings.get(key)
            if then != now:
                raise ModelError(
                    f"cannot resume from '{name}': {key.replace('_', '-')} was {then}, now it is {now}",
                    "give the same settings, or start afresh with -y and without --resume",
                )
        try:
            self.model.load_state_dict(_part(tensors, "model"))
            self.average.load_state_dict(_part(tensors, "average"))
            self.best = _part(tensors, "best")
            slots: dict[int, dict[str, Tensor]] = {}
            for key, tensor in _part(tensors, "optimiser").items():
                index, slot = key.split(".", 1)
                slots.setdefault(int(index), {})[slot] = tensor
            groups = self.optimiser.state_dict()["param_groups"]
            self.optimiser.load_state_dict({"state": slots, "param_groups": groups})
            self.generator.set_state(tensors["generator"])
            self.record = {key: record[key] for key in self.record}
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
            raise ModelError(f"cannot resume from '{name}': it does not belong to this model") from error


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _part(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}."): t for name, t in tensors.items() if name.startswith(f"{part}.")}


def _read(data: bytes, name: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Tensor]]:
    """Record, settings and tensors."""
    from smdae.files.model_file import header

    try:
        metadata = header(data)
        if metadata.get("format") != "smdae-state" or metadata.get("version") != "1":
            raise ModelError(f"'{name}' is not the state of a fit")
        state = json.loads(metadata["state"])
        return dict(state["record"]), dict(state["settings"]), load_tensors(data)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"cannot resume from '{name}': the file is damaged") from error
