"""What was found, as numbers: the one source of figures, from which page and curves are made, so that all agree.

    settings      what was asked for, and of what
    baselines     PSNR in dB of the held-out crops: noisy, and after the linear filter
    contestants   objective, paper, outcome (done, degenerated, diverged), reason, steps, seconds, psnr,
                  near_best_step and near_best_seconds (where it came within 0.3 dB of the best),
                  gradient_noise_start and _end, curve: a list of step, seconds, psnr, objective (scaled)
    matrix        model, objective, value (raw J), error, scaled
    gradients     at, first, second, equivalent, and the figures that comparing/gradients.py explains

What is no number is null.
"""

import math
from dataclasses import asdict
from typing import Any

from smdae.comparing.comparison import Findings
from smdae.comparing.contest import Contest
from smdae.comparing.contestants import NEAR, arrival
from smdae.objectives import OBJECTIVES

__all__ = ["VERSION", "Record", "results"]

VERSION = 1

Record = dict[str, Any]


def results(contest: Contest, found: Findings) -> Record:
    """The figures, ready for JSON."""
    settings = contest.settings
    noise = {(n.objective, n.at): n.deviation for n in found.noise}
    contestants = []
    for course in found.courses:
        near = arrival(course, found.courses)
        last = course.points[-1] if course.points else None
        contestants.append(
            {
                "objective": course.objective,
                "paper": OBJECTIVES[course.objective].paper,
                "outcome": course.outcome,
                "reason": course.reason,
                "steps": course.step,
                "seconds": round(last.seconds, 3) if last else 0.0,
                "psnr": last.psnr if last and course.outcome == "done" else None,
                "near_best_step": near and near.step,
                "near_best_seconds": near and round(near.seconds, 3),
                "gradient_noise_start": noise.get((course.objective, "start")),
                "gradient_noise_end": noise.get((course.objective, "end")),
                "curve": [asdict(point) for point in course.points],
            }
        )
    record = {
        "format": "smdae-comparison",
        "version": VERSION,
        "settings": {
            "sigma": settings.sigma,
            "patches": len(contest.patches),
            "different_patches": contest.places,
            "patch_size": settings.patch_size,
            "images": contest.images[0],
            "held_out_images": contest.images[1],
            "held_out_patches": len(contest.held_out),
            "model": settings.model,
            "hidden": settings.hidden,
            "batch": settings.batch,
            "max_steps": int(settings.limits[0]),
            "lr": settings.lr,
            "seed": settings.seed,
            "device": str(contest.device),
            "near_best_db": NEAR,
            "gradients_at_end_of": found.end_of,
        },
        "baselines": {"noisy": found.noisy, "wiener": found.wiener},
        "contestants": contestants,
        "matrix": [asdict(entry) for entry in found.matrix],
        "gradients": [
            {"at": p.at, "first": p.first, "second": p.second, "equivalent": p.equivalent, **asdict(p.parallel)}
            for p in found.pairs
        ],
    }
    return _finite(record)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
