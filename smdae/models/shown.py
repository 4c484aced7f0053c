"""What all models of images share: their card as a table in a notebook, and their one level of noise, if it is one."""

from collections.abc import Mapping
from html import escape
from typing import Any

from torch import nn

from smdae.protocols import ScoreModel, single_level

SHOWN = {
    "model": "model",
    "objective": "fitted by",
    "score_of": "score of",
    "sigma": "sigma, white being 255",
    "rows": "rows",
    "images": "images",
    "channels": "channels",
    "patch_size": "patch size",
    "steps": "steps",
    "seconds": "seconds",
    "stopped_by": "stopped by",
    "held_out": "held out",
    "held_out_psnr": "held-out PSNR, dB",
}


class ImageModel(nn.Module):
    """A module with a `noise_range`, and a `card` once it is fitted or loaded."""

    def _repr_html_(self) -> str:
        return as_html(type(self).__name__, vars(self).get("card"))

    @property
    def level(self: ScoreModel) -> float | None:
        """Return the one level of noise that it was made for, white being 1; None if there are many."""
        return single_level(self)


def as_html(kind: str, card: Mapping[str, Any] | None) -> str:
    """Return a card as an HTML table under the name of a class; without rows if there is no card."""
    said = card or {}
    facts = {SHOWN[key]: said[key] for key in SHOWN if key in said}
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(_plain(value))}</td></tr>" for name, value in facts.items())
    return f"<table><caption>{escape(kind)}</caption>{rows}</table>"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(part)}" for name, part in value.items() if part is not None)
    if isinstance(value, list | tuple):
        return " to ".join(map(_plain, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
