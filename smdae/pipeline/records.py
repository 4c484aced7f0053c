"""The JSON records of denoised pictures; docs/json.md and smdae/schemas/denoise.json describe every field."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from smdae import __version__
from smdae.pipeline.places import Job

if TYPE_CHECKING:
    from smdae.denoising.judgement import Judgement
    from smdae.pipeline.found_noise import NoiseFacts
    from smdae.pipeline.outcome import Outcome


def words_of(model: Any) -> str:
    """Return the text by which later runs recognise a result that holds it: versions of smdae and of the model."""
    return f"denoised by smdae {__version__} with {model.identity}"


def record_of(
    job: Job,
    model: Any,
    found: "Sequence[NoiseFacts]",
    precisions: Sequence[str],
    judgements: "Sequence[Judgement | None]",
) -> dict[str, Any]:
    """Return the JSON record of a denoised file; noise and sigma are lists where it has several pages or channels."""
    sigmas = [page.levels[0] if len(page.levels) == 1 else list(page.levels) for page in found]
    kinds = ["none" if page.estimate.noise.is_none else page.estimate.noise.kind for page in found]
    noise = [
        {
            "kind": kind,
            "described": page.described,
            "sigma": page.sigma,
            "reason": page.estimate.reason,
            "outliers": page.repaired,
        }
        for kind, page in zip(kinds, found, strict=True)
    ]
    return {
        "input": str(job.source),
        "output": str(job.target),
        "sigma": sigmas[0] if len(sigmas) == 1 else sigmas,
        "noise": noise[0] if len(noise) == 1 else noise,
        "model": _of_model(model),
        "device": str(next(model.parameters()).device),
        "precision": precisions[0] if precisions else None,
        **_estimates(judgements),
    }


def frames_record(job: Job, model: Any, frames: int) -> dict[str, Any]:
    """Return the JSON record of a denoised video."""
    device = str(next(model.parameters()).device)
    places = {"input": str(job.source), "output": str(job.target)}
    return places | {"frames": frames, "model": _of_model(model), "device": device}


def _estimates(judgements: "Sequence[Judgement | None]") -> dict[str, Any]:
    """Return the entries of the JSON record about estimated quality.

    These are the PSNR in dB, its standard error, the gain by adapting and the reasons for doubt; each is a list unless
    there is exactly one picture.
    """
    values: dict[str, list[Any]] = {
        "psnr_estimated": [judged.psnr if judged and judged.is_trusted else None for judged in judgements],
        "psnr_estimated_error": [judged.error if judged and judged.is_trusted else None for judged in judgements],
        "gain": [judged.gain if judged and judged.is_gain_known else None for judged in judgements],
        "transform": [judged and judged.transform for judged in judgements],
        "doubts": [list(judged.doubts) if judged else [] for judged in judgements],
    }
    return {name: found[0] if len(found) == 1 else found for name, found in values.items()}


def precisions(outcome: "Outcome", model: Any) -> list[str]:
    """Return the number format of the network's products, in a list that is empty if the picture was left as it is."""
    return [] if outcome.task is None else [outcome.task.precision_on(next(model.parameters()).device)]


def figures(record: dict[str, Any]) -> str:
    """Return the measured figures of a record, as in "PSNR 31.20 dB (noisy 20.17), SSIM 0.9021 (noisy 0.4312)"."""
    return (
        f"PSNR {record['psnr']:.2f} dB (noisy {record['psnr_noisy']:.2f}), "
        f"SSIM {record['ssim']:.4f} (noisy {record['ssim_noisy']:.4f})"
    )


def is_number(value: Any) -> bool:
    """Return False for infinity and NaN, which JSON cannot hold, and True for every other value."""
    return not isinstance(value, float) or math.isfinite(value)


def _of_model(model: Any) -> dict[str, Any]:
    """Return the name and digest of a model, and what its card says of its kind, objective and sigma."""
    return asdict(model.identity) | {name: model.card.get(name) for name in ("model", "objective", "sigma")}
