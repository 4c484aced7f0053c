"""The table at the end of a fit: how good the model is, what stopped it, and the command that uses it."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smdae.cli import console
from smdae.named import is_named
from smdae.pipeline.card import is_too_uncertain, of_noise

if TYPE_CHECKING:
    from smdae.fitting import Prepared


def print_table(prepared: "Prepared", card: dict[str, Any], output: Path, before: float | None) -> None:
    """Print the table at the end of a fit on stderr; `before` is the held-out PSNR in dB at the start, or None."""
    figures = card["held_out_psnr"]
    record = prepared.state.record
    of_rows = "rows" in card
    low, high = (end * (prepared.patches.white if of_rows else 255) for end in prepared.state.settings.levels)
    level = f"{high:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
    images = f"{card['images']} images" if card["images"] > 1 else "one image"
    if of_rows:
        images = f"{card['rows']:,} rows of {card['channels']:,} number{'s' * (card['channels'] > 1)}"
    rows = [("objective", f"{card['objective']}, sigma {level}{' in their unit' * of_rows}, {images}")]
    if not prepared.denoises:
        rows.append(("held-out J", f"{-record['before']:.5g} before, {-record['best']:.5g} after"))
    elif of_rows:
        start = f" ({of_noise(before, figures['noisy'])} at the start)" if before is not None else ""
        error = of_noise(figures["model"], figures["noisy"])
        rows.append(("held-out error", f"{error} of sigma^2{start}"))
        if figures["wiener"] is not None:
            rows.append(("Wiener filter", f"{of_noise(figures['wiener'], figures['noisy'])} on the same rows"))
    else:
        start = f", {before:.2f} at the start" if before is not None else ""
        kind = "estimated PSNR" if card["noisy"] else "held-out PSNR"
        psnr = f"{figures['model']:.2f} dB (noisy {figures['noisy']:.2f}{start})"
        if prepared.noise:
            kind, psnr = "held-out PSNR", f"{psnr}, with noise drawn anew"
            before, after = -record["before"], -record["best"]
            risk = f"{before:.2f} before, {after:.2f} after, % of the noise, but for a constant"
            rows.append(("held-out risk", risk))
        elif is_too_uncertain(card):
            psnr = "unknown: too few pixels are held out"
        rows.append((kind, psnr))
        if figures["wiener"] is not None:
            rows.append(("Wiener filter", f"{figures['wiener']:.2f} dB on the same patches"))
    rows += [
        ("time", f"{card['seconds']:.0f} s, {card['steps']:,} steps"),
        ("stopped by", _reason(prepared.state, card["stopped_by"])),
        ("model", str(output)),
    ]
    if of_rows:
        imports = f", imports=[{card['model']!r}]" if is_named(card["model"]) else ""
        call = f"smdae.load({str(output)!r}{imports}).score(torch.zeros(1, {card['channels']}))"
        rows.append(("next", f"{call}, in Python"))
    elif not card["shortfalls"] and prepared.denoises:
        sigma = "" if prepared.examples.kernel is None else f" --noise white -s {high:.4g}"
        rows.append(("next", f"smdae denoise noisy.png -m {shlex.quote(str(output))}{sigma}{_imports(card)}"))
    console.table(rows)


def _reason(state: Any, stopped_by: str) -> str:
    """Return why a fit ended, as in "time, after 1,200 steps"."""
    record, settings = state.record, state.settings
    step = f"step {record['step']:,}" + (f" of {record['steps']:,}" if record["steps"] else "")
    return {
        "steps": f"all {record['step']:,} steps done",
        "time": f"time, after {record['step']:,} steps",
        "patience": f"patience: no gain in {settings.patience} validations, at {step}",
        "divergence": f"divergence, at {step}",
    }.get(stopped_by, f"{stopped_by}, at {step}")


def _imports(card: dict[str, Any]) -> str:
    return f" --import {card['model']}" if is_named(card["model"]) else ""
