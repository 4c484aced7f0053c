"""A fitted model in a notebook: its card as a table."""

from collections.abc import Mapping
from html import escape
from typing import Any

__all__ = ["as_html"]

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


def as_html(kind: str, card: Mapping[str, Any] | None) -> str:
    """Return a card as an HTML table, with the entries that say most of a model.

    Args:
        kind: What is shown, such as a class.
        card: The card of the model; None if it has none, which gives a table without rows.
    """
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
