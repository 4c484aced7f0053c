"""A model file: one safetensors file that rebuilds the model by itself and says what it is.

Weights are tensors; the metadata hold `format`, `version` and `card`, a JSON object: the model's name in MODELS and the
numbers that build it, and what it was fitted on, with which objective, for which level and channels, how well. The
card, its numbers and the shapes of the weights are checked before anything is built, and the checksum of all before
anything is used. Nothing is ever unpickled.
"""

import json
import os
from collections.abc import Collection
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from smdae.errors import ModelError, UsageError
from smdae.files import bundle, self_test, tensor_file
from smdae.files.bundle import BUNDLED, Identity
from smdae.files.model_card import FORMAT, MAX_WEIGHTS, card_of, version_of
from smdae.named import is_named

MAX_LENGTH = 8 * MAX_WEIGHTS + (1 << 21)  # bytes of a file
MAX_WEIGHT = 1e15  # so that squares of weights, and sums of those, stay in the range of float32
WEIGHTS = {"F16", "BF16", "F32", "F64"}  # dtypes
HINT = "smdae reads models written by 'smdae fit', and never loads a pickle"


def encode(model: Any, card: dict[str, Any], half: bool = False) -> bytes:
    """Return the bytes of a model file.

    Args:
        model: An nn.Module.
        card: What the file says of it; `model` and `settings` must rebuild it through MODELS.
        half: Whether to write the weights in float16.
    """
    from safetensors.torch import save

    # Clones, as layers of others may share their weights.
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()}
    if half:
        tensors = {name: tensor.half() for name, tensor in tensors.items()}
    data = save(tensors, {"format": FORMAT, "version": version_of(card), "card": json.dumps(card)})
    return tensor_file.with_checksum(data)


def encode_tested(model: Any, card: dict[str, Any], half: bool = False) -> bytes:
    """Return the bytes of a model file, with a self-test unless the model is one of the user's own.

    Arguments are those of `encode`. If the card describes another model, the errors of `build` are raised.
    """
    data = encode(model, card, half)
    if is_named(card["model"]):
        return data
    found = self_test.results(build(json.loads(json.dumps(card)), data, "the model"))
    return encode(model, {**card, self_test.ENTRY: found}, half) if found else data


def find(path_or_name: str | Path) -> Path:
    """Return where a model lies: a file, or the name of a bundled one, with its version or without: natural-gray@2.

    Raises:
        ModelError: There is neither.
    """
    path = Path(path_or_name)
    if os.path.exists(path):
        return path
    name, at, version = str(path_or_name).partition("@")
    bundled = BUNDLED / f"{name}.safetensors"
    if path.name != str(path_or_name) or not os.path.exists(bundled):
        names = sorted(file.stem for file in BUNDLED.glob("*.safetensors"))
        known = f"bundled are {', '.join(names)}; " if names else ""
        raise ModelError(f"there is no model '{path_or_name}'", f"{known}'smdae fit' makes others")
    if at and version != str(bundle.version_of(name)):
        has = f"this smdae has {name}@{bundle.version_of(name)}"
        raise ModelError(f"there is no model '{path_or_name}': {has}", "'smdae models' lists them")
    return bundled


def identity(path_or_name: str | Path, data: bytes) -> Identity:
    """Return the identity of a model file, given its bytes: a bundled one by its name and version, another by its path.

    Raises:
        ModelError: There is no such file or name.
    """
    path = find(path_or_name)
    if path.parent == BUNDLED and bundle.version_of(path.stem) is not None:
        return Identity(f"{path.stem}@{bundle.version_of(path.stem)}", tensor_file.digest(data))
    return Identity(str(path_or_name), tensor_file.digest(data))


def read(path_or_name: str | Path) -> tuple[dict[str, Any], bytes]:
    """Return the card of a model file, checked, and the file's bytes; loads no torch.

    Raises:
        ModelError: The file is missing, not a model file, damaged, or of another version.
    """
    path = find(path_or_name)
    cards: list[dict[str, Any]] = []
    try:
        data = tensor_file.read(path, MAX_LENGTH, lambda header: cards.append(card_of(header)))
    except OSError as error:
        raise ModelError(f"cannot read the model '{path}': {(error.strerror or 'unreadable').lower()}") from None
    except ValueError as error:
        hint = "use the smdae that wrote it, or fit again" if "version" in str(error) else HINT
        raise ModelError(f"cannot load the model '{path}': {error}", hint) from None
    return cards[0], data


def read_whole(path_or_name: str | Path) -> tuple[dict[str, Any], bytes]:
    """Return what `read` returns, once the checksum has shown that the file is as it was written.

    Raises:
        ModelError: As `read`, or the checksum is wrong.
    """
    card, data = read(path_or_name)
    try:
        tensor_file.checked(data)
    except ValueError as error:
        raise ModelError(f"cannot load the model '{path_or_name}': {error}", HINT) from None
    return card, data


def load(path_or_name: str | Path, imports: Collection[str] = ()) -> Any:
    """Return the score model of a file, or a bundled one by its name, in eval mode.

    Args:
        path_or_name: The file, or the name.
        imports: Networks of the user's own that may be imported, as module:name. Their code is not in model files, and
            is run only if it is named here.

    Raises:
        ModelError: The file is missing, not a model file, damaged or of another version, its weights do not fit, or
            its network is not among the imports.
        UsageError: A network among the imports cannot be imported or built, or `path_or_name` is neither.
    """
    if not isinstance(path_or_name, str | Path):
        raise UsageError(f"a model is the path of a file or a name, not of type {type(path_or_name).__name__}")
    card, data = read(path_or_name)
    model = build(card, data, str(path_or_name), (imports,) if isinstance(imports, str) else imports)
    model.identity = identity(path_or_name, data)
    return model


def build(card: dict[str, Any], data: bytes, name: str, imports: Collection[str] = ()) -> Any:
    """Return the model that a checked card and the bytes of its file describe, in eval mode; arguments as for `load`.

    Raises:
        ModelError: The weights are damaged or do not fit the description, or its network is not among the imports.
        UsageError: Its network cannot be imported or built.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load as load_tensors

    from smdae.models import MODELS, family

    def bad(reason: str) -> ModelError:
        return ModelError(f"cannot load the model '{name}': {reason}", HINT)

    is_own = is_named(card["model"])
    if is_own and card["model"] not in imports:
        raise ModelError(
            f"cannot load the model '{name}': it is the module '{card['model']:.80}', which is imported only if you "
            "ask for it",
            f"if you trust that module: --import {card['model']:.80}, or imports=[...] in Python",
        )
    if not is_own and card["model"] not in MODELS:
        raise bad(f"there is no model called {card['model']!r:.60}")
    try:
        header = tensor_file.checked(data)
    except ValueError as error:
        raise bad(str(error)) from error
    try:
        # Nothing is allocated on meta; what a module of others makes itself of must be there.
        with nullcontext() if is_own else torch.device("meta"):
            named = {"model": card["model"]} if is_own else {}
            model = family(card["model"]).build(**named, **card["settings"])
        made = model.state_dict()
        shapes = {key: tuple(t.shape) for key, t in made.items()}
    except (TypeError, ValueError, OverflowError, RuntimeError, ZeroDivisionError, UsageError) as error:
        if is_own and isinstance(error, UsageError):
            raise
        raise bad("its description makes no sense") from error
    if shapes != {key: tensor.shape for key, tensor in header.tensors.items()}:
        raise bad("its weights do not fit its description")
    if any(tensor.dtype not in WEIGHTS for tensor in header.tensors.values()):
        raise bad("its weights are not all numbers")
    try:
        kinds = {key: t.dtype if is_own else torch.float32 for key, t in made.items()}
        tensors = {key: t.to(kinds[key]) for key, t in load_tensors(data).items()}
    except (SafetensorError, ValueError) as error:
        raise bad("its weights are damaged or cut off") from error
    if not all(((t >= -MAX_WEIGHT) & (t <= MAX_WEIGHT)).all() for t in tensors.values()):
        raise bad(f"its weights are not all numbers, or beyond {MAX_WEIGHT:g}")
    model.load_state_dict(tensors, assign=True)
    model.card = card
    return model.requires_grad_(False).eval()
