"""The card of a fitted model, and the lines of the log of a fit."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smdae.fitting import Prepared
    from smdae.fitting.loop import Report

MAX_BELOW_WIENER = 0.05  # dB
MAX_PSNR_ERROR = 1.0  # dB, standard error of an estimated PSNR that is shown
CLEAN, VARYING = "the clean density", "the density with noise that depends on brightness"  # values of `score_of`


def card_of(prepared: "Prepared", wiener: float | None, stopped_by: str) -> dict[str, Any]:
    """Return the card of a fitted model: its settings, facts on the images, and its PSNR in dB on held-out images.

    `wiener` is the PSNR of the linear Wiener filter on these, None where it was not measured.
    """
    from smdae import __version__
    from smdae.fitting.validation import NoisyCrops

    state, patches = prepared.state, prepared.patches
    image_model = prepared.fitted()
    risk = prepared.crops.risk(image_model) if isinstance(prepared.crops, NoisyCrops) else None
    figures = {
        "noisy": prepared.crops.psnr(),
        "wiener": wiener,
        "model": prepared.crops.psnr(image_model) if risk is None else risk.psnr(),
    }
    return {
        **prepared.card(image_model, stopped_by),
        "images": len(patches),
        "score_of": _density(prepared),
        "noisy": state.settings.noisy,
        "about": state.settings.about or _about(prepared),
        "held_out_images": len(prepared.held_out),
        "held_out_psnr": figures,
        "held_out_psnr_at": {
            f"{255 * level:.4g}": prepared.crops.psnr(image_model, level) for level in prepared.crops.levels
        },
        "shortfalls": shortfalls(figures, "rows" if patches.size == 1 else "images") if prepared.denoises else [],
        **_of_noise(prepared),
        **({} if risk is None else {"held_out_psnr_error": risk.psnr_error}),
        "seed": state.settings.seed,
        "fit": state.settings.model_dump(mode="json"),
        "smdae": __version__,
    }


def _about(prepared: "Prepared") -> str:
    """Return what a card says of noisy images whose noise is not white, and which noise that is; "" for all others."""
    return f"noisy images alone, {prepared.noise}; the PSNR is with noise drawn anew" if prepared.noise else ""


def _of_noise(prepared: "Prepared") -> dict[str, Any]:
    """Return the entries of a card about noise that is not white: its kind, and the risk before and after the fit.

    The risk is that on held-out images. There are no entries where the noise is white.
    """
    if not prepared.noise:
        return {}
    from smdae.fitting.refinement_batches import WEIGHT_SHARE

    record = prepared.state.record
    return {
        "noise": prepared.noise,
        "kept_of_the_fit": WEIGHT_SHARE,
        "held_out_psnr_of": prepared.crops.kind,
        "held_out_risk": {"before": -record["before"] / 100, "after": -record["best"] / 100},
    }


def is_too_uncertain(card: Mapping[str, Any]) -> bool:
    """Return whether the PSNR of a card is an estimate from so few pixels that it is not shown."""
    error = card.get("held_out_psnr_error", 0.0)
    return not isinstance(error, int | float) or not error <= MAX_PSNR_ERROR


def _density(prepared: "Prepared") -> str:
    """Return the name of the density whose score the model gives."""
    if prepared.examples.implicit:
        return CLEAN
    return "the density at level sigma" if prepared.denoises else VARYING


def of_noise(psnr: float, noisy: float) -> str:
    """Return a squared error in percent of that of the noise, as text, given the PSNR of both in dB.

    The error of rows of numbers is told so, since they may have any unit and no white.
    """
    return f"{100 * 10 ** ((noisy - psnr) / 10):.1f} %"


def shortfalls(figures: dict[str, float | None], examples: str = "images") -> list[str]:
    """Return a sentence for each way in which a model falls short on held-out images; an empty list if there is none.

    Args:
        figures: The PSNR in dB of the images when `noisy`, and as denoised by the `model` and by the linear `wiener`
            filter, which may be None. A model worse than that one by up to 0.05 dB is good.
        examples: What they are called: images or rows.
    """
    noisy, wiener, model = (figures[name] for name in ("noisy", "wiener", "model"))
    assert noisy is not None
    assert model is not None
    of_rows = examples == "rows"
    found = []
    if round(model, 2) < round(noisy, 2):
        how = f"their squared error is {of_noise(model, noisy)} of sigma^2"
        worse = how if of_rows else f"{model:.2f} dB, and the noisy ones have {noisy:.2f}"
        found.append(f"it makes held-out {examples} worse: {worse}")
    if wiener is not None and model < wiener - MAX_BELOW_WIENER:
        how = f"its squared error is {of_noise(wiener, noisy)} of sigma^2, that of the model {of_noise(model, noisy)}"
        better = how if of_rows else f"{wiener:.2f} dB, and the model has {model:.2f}"
        found.append(f"the linear Wiener filter is better: {better}")
    return found


def line_of(report: "Report") -> dict[str, Any]:
    """Return the line of the log of a fit, as a JSON object, for a report of its progress."""
    figures: dict[str, Any] = {
        "step": report.step,
        "steps": report.steps,
        "seconds": round(report.seconds, 3),
        "lr": report.lr,
        "objective": report.objective,
        "patches_per_second": round(report.rate),
    }
    if report.validation:
        figures["held_out"] = {report.validation.kind: report.validation.value}
    return figures
