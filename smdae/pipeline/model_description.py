"""Descriptions of models from their files, for `models` and `info`; loads no torch."""

from collections.abc import Mapping
from typing import Any

from smdae.pipeline.card import is_too_uncertain, of_noise

INDENT = "  "
CHANNELS = {1: "gray", 3: "colour"}
# What a card says beyond the first lines: its entry, and the words before it.
MORE = {
    "about": "fitted on",
    "images": "images",
    "rows": "rows",
    "steps": "steps",
    "stopped_by": "stopped by",
    "smdae": "smdae",
}


def record(name: str) -> dict[str, Any]:
    """Return the JSON record of a model, which is given as a file or by the name of a bundled one.

    Raises:
        ModelError: There is no such model, or its file is damaged, which its checksum tells.
    """
    from smdae.files import bundle
    from smdae.files.model_file import find, identity, read_whole

    card, data = read_whole(name)
    which = identity(name, data)
    doubtful = is_too_uncertain(card)
    kept = bundle.entries().get(which.name.partition("@")[0], {}) if "@" in which.name else {}
    return {
        "name": which.name,
        "digest": which.digest,
        "version": kept.get("version"),
        "licence": kept.get("licence"),
        "file": find(name).name,
        "bytes": len(data),
        "model": card["model"],
        "objective": card.get("objective"),
        "score_of": card.get("score_of"),
        "channels": card["channels"],
        "sigma": card["sigma"],
        "held_out_psnr": None if doubtful else card.get("held_out_psnr"),
        "held_out_psnr_at": None if doubtful else card.get("held_out_psnr_at"),
        "shortfalls": card.get("shortfalls", []),
        "card": {entry: card[entry] for entry in MORE if entry in card},
    }


def self_tested(name: str) -> float:
    """Return the relative difference of the results of a model here and where its file was written; loads torch.

    Raises:
        ModelError: There is no such model, its file holds no self-test, or the difference is over 0.1 %.
    """
    from smdae.files import bundle, self_test
    from smdae.files.model_file import load

    model = load(name)
    kept = bundle.entries().get(model.identity.name.partition("@")[0], {}) if "@" in model.identity.name else {}
    expected = kept.get(self_test.ENTRY, model.card.get(self_test.ENTRY))
    return self_test.refuse_other_results(name, expected, self_test.results(model))


def lines(name: str) -> list[str]:
    """Return the description of a model as lines of text; raise ModelError as `record` does."""
    found = record(name)
    card = found["card"]
    entries = [
        f"{words}: {card[entry]:,}" if isinstance(card[entry], int) else f"{words}: {card[entry]}"
        for entry, words in MORE.items()
        if card.get(entry) and not (entry == "images" and "rows" in card)  # which are held as one image
    ]
    entries += [f"it falls short: {text}" for text in found["shortfalls"]]
    if found["score_of"] == "the clean density":
        entries.append("a score of the clean density, so it cannot remove noise")
    return [*short(found), *(f"{INDENT}{line}" for line in entries)]


def short(found: Mapping[str, Any]) -> list[str]:
    """Return the short description of a model for a list of several, as lines of text."""
    channels = CHANNELS.get(found["channels"], f"{found['channels']} channels")
    if "rows" in found["card"]:
        channels = f"rows of {found['channels']} number{'s' * (found['channels'] > 1)}"
    size = f"{found['bytes'] / 1e6:.1f} MB" if found["bytes"] >= 1e5 else f"{found['bytes'] / 1e3:.0f} kB"
    white = ", white being 255" if "rows" in found["card"] else ""
    entries = [f"{found['model']} by {found['objective']}, {channels}, sigma {_levels(found['sigma'])}{white}, {size}"]
    if figures := _figures(found):
        entries.append(figures)
    if found["licence"]:
        entries.append(f"licence: {found['licence']}")
    return [f"{found['name']} ({found['digest'][:8]})", *(f"{INDENT}{line}" for line in entries)]


def _levels(sigma: Any) -> str:
    levels = sigma if isinstance(sigma, list) else [sigma]
    return " to ".join(f"{level:g}" for level in levels)


def _figures(found: Mapping[str, Any]) -> str:
    """Return the PSNR on images held out of the fit, or the error on rows, in words; empty if the card has none."""
    by_level, mean = found["held_out_psnr_at"], found["held_out_psnr"]
    if not isinstance(mean, dict):
        mean = {}
    if "rows" in found["card"] and all(isinstance(mean.get(of), int | float) for of in ("model", "noisy")):
        return f"held-out error {of_noise(mean['model'], mean['noisy'])} of sigma^2"
    if isinstance(by_level, dict) and by_level:
        at = [f"{_decibels(value)} at sigma {level}" for level, value in by_level.items()]
        return f"held-out PSNR {', '.join(at)}"
    if isinstance(mean.get("model"), int | float):
        return f"held-out PSNR {_decibels(mean['model'])} dB (noisy {_decibels(mean.get('noisy'))})"
    return ""


def _decibels(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, int | float) else "unknown"
