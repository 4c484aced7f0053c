"""The state of a fit: all that it carries from one step to the next, and the file from which it can be resumed.

The file is safetensors: tensors named model.*, average.*, best.*, optimiser.* and generator; numbers and settings as
JSON in the metadata; a checksum of all. It is accepted only if each tensor has the shape and dtype that it has in this
fit, those of the optimiser too, whose kernels would read beyond smaller ones. Nothing is pickled.
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
from smdae.files import tensor_file
from smdae.files.tensor_file import Header
from smdae.fitting.optimisers import OPTIMISERS
from smdae.fitting.settings import RENAMED, Settings

FORMAT, VERSION = "smdae-state", "1"
MAX_STEPS = 10**12
MAX_NUMBER = 1e300  # of the numbers of a record
DTYPES = {torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.bfloat16: "BF16", torch.uint8: "U8"}
INTEGERS, NUMBERS = ("step", "steps", "stale"), ("seconds", "best", "before")  # of the record
AFRESH = "-y without --resume begins a new fit"
OPTIONAL = ("steps", "best", "before")  # of the record, which may be None


@dataclass
class State:
    """A fit under way.

    Attributes:
        settings: The settings of the fit.
        model: The model that is fitted.
        average: The exponential moving average of its weights, which is validated and kept.
        optimiser: The optimiser of the model's parameters.
        generator: Source of all random numbers.
        best: The average's weights at the best validation so far.
        images: A digest of the images that it is fitted to; empty if not known.
        record: Numbers by name: `step` and `steps`, done and planned; `seconds`; the validations `before` the fit and
            `best`; and `stale`, the number of validations since the best.
        parameters: The parameters of the model.
        averages: Those of the average, in the same order.
    """

    settings: Settings
    model: nn.Module
    average: nn.Module
    optimiser: torch.optim.Optimizer
    generator: Generator
    best: dict[str, Tensor]
    images: str = ""
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
        # Kept as lists: walking through the modules at each step would take longer than averaging.
        self.parameters, self.averages = [*self.model.parameters()], [*self.average.parameters()]

    @classmethod
    def start(cls, model: nn.Module, settings: Settings, generator: Generator, images: str = "") -> Self:
        """Return the state before the first step."""
        optimiser = OPTIMISERS[settings.optimiser](model, settings.lr, settings.weight_decay)
        average = copy.deepcopy(model).requires_grad_(False)
        return cls(settings, model, average, optimiser, generator, _copy(average), images)

    def keep(self) -> None:
        """Keep a copy of the average's weights as the best so far."""
        self.best = _copy(self.average)

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor that a resumed fit needs, by name."""
        tensors = {"generator": self.generator.get_state()}
        for part, values in (
            ("model", self.model.state_dict()),
            ("average", self.average.state_dict()),
            ("best", self.best),
        ):
            tensors |= {f"{part}.{name}": tensor for name, tensor in values.items()}
        return tensors | _slots(self.optimiser)

    def to_bytes(self) -> bytes:
        """Return the state as the bytes of a safetensors file."""
        tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in self.tensors().items()}
        record = {"record": self.record, "settings": self.settings.model_dump(mode="json"), "images": self.images}
        data = save_tensors(tensors, {"format": FORMAT, "version": VERSION, "state": json.dumps(record)})
        return tensor_file.with_checksum(data)

    def accept(self, header: Header, name: str) -> None:
        """Raise ModelError unless a file of that header is a state of this fit.

        It is refused if it is none, or of a fit with other settings (the first is named) or other images, or if its
        tensors are not those of this model and optimiser.
        """
        if header.metadata.get("format") != FORMAT or header.metadata.get("version") != VERSION:
            raise ModelError(f"'{name}' is not the state of a fit", AFRESH)
        try:
            state = json.loads(header.metadata["state"])
            settings = {RENAMED.get(name, name): value for name, value in dict(state["settings"]).items()}
            record = dict(state["record"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _refusal(name, "the file is damaged") from error
        for key, now in self.settings.model_dump(mode="json").items():
            then = settings.get(key)
            if then != now:
                told = str(then) if str(then).isprintable() else repr(then)
                why = f"{key.replace('_', '-')} was {told:.60}, now it is {now}"
                raise _refusal(name, why, "give the same settings, or start afresh with -y and without --resume")
        if wrong := _wrong(record):
            raise _refusal(name, f"the file is damaged, '{wrong}' makes no sense")
        slots = _slots(_rehearsed(self.model, self.settings))
        theirs = header.tensors
        indices = {key.split(".")[1] for key in theirs if key.startswith("optimiser.")}
        kept = {key: slot for key, slot in slots.items() if key.split(".")[1] in indices}
        ours = {key: tensor for key, tensor in self.tensors().items() if not key.startswith("optimiser.")} | kept
        if theirs != {key: (DTYPES[tensor.dtype], tuple(tensor.shape)) for key, tensor in ours.items()}:
            raise _refusal(name, "it does not belong to this model")
        if self.images and state.get("images", self.images) not in ("", self.images):
            hint = "give the same images, or start afresh with -y and without --resume"
            raise _refusal(name, "it is of a fit to other images", hint)

    def restore(self, data: bytes, name: str) -> None:
        """Restore the state from a file made by `to_bytes` in a fit with the same settings.

        It raises ModelError if the file is damaged, or is refused by `accept`.
        """
        try:
            header = tensor_file.checked(data)
        except ValueError as error:
            raise _refusal(name, f"the file is damaged, {error}") from error
        self.accept(header, name)
        try:
            tensors = load_tensors(data)
            if not all(tensor.isfinite().all() for tensor in tensors.values()):
                raise ValueError("not all numbers")
            self.generator.set_state(tensors["generator"])
        except (SafetensorError, ValueError, RuntimeError, TypeError) as error:
            raise _refusal(name, "the file is damaged") from error
        self.model.load_state_dict(_part(tensors, "model"))
        self.average.load_state_dict(_part(tensors, "average"))
        self.best = _part(tensors, "best")
        slots: dict[int, dict[str, Tensor]] = {}
        for key, tensor in _part(tensors, "optimiser").items():
            index, slot = key.split(".", 1)
            slots.setdefault(int(index), {})[slot] = tensor
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": slots, "param_groups": groups})
        record = json.loads(header.metadata["state"])["record"]
        self.record = {key: record[key] for key in self.record}


def _refusal(name: str, why: str, hint: str = AFRESH) -> ModelError:
    return ModelError(f"cannot resume from '{name}': {why}", hint)


def _rehearsed(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """Return the optimiser of a copy of a model after one step, when it has all of its tensors."""
    model = copy.deepcopy(model)
    optimiser = OPTIMISERS[settings.optimiser](model, settings.lr, settings.weight_decay)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    return optimiser


def _slots(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the tensors that an optimiser keeps for each parameter, by their names in the file."""
    kept = optimiser.state_dict()["state"]
    return {f"optimiser.{index}.{name}": tensor for index, slots in kept.items() for name, tensor in slots.items()}


def _wrong(record: dict[str, Any]) -> str | None:
    """Return the name of the first entry that is missing, of a wrong type or out of range; None if there is none."""
    for name in (*INTEGERS, *NUMBERS):
        value: Any = record.get(name, "missing")
        if value is None and name in OPTIONAL:
            continue
        if name in INTEGERS and not (type(value) is int and 0 <= value <= MAX_STEPS):
            return name
        if name in NUMBERS and not (type(value) in (int, float) and -MAX_NUMBER <= value <= MAX_NUMBER):
            return name
    if (record["best"] is None) != (record["before"] is None):  # the first validation gives both
        return "best" if record["best"] is None else "before"
    return "seconds" if record["seconds"] < 0 else None


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _part(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}."): t for name, t in tensors.items() if name.startswith(f"{part}.")}
