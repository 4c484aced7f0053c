"""What was found, as a page of plain text for a person: no line is wider than 80 columns.

Of figures it knows those of `report.results` only.
"""

import textwrap
from collections.abc import Iterator, Sequence

from smdae.comparing.gradients import EQUIVALENT
from smdae.comparing.report import Record

__all__ = ["grid", "page"]

WIDTH = 80
NOISIER = 1.1  # times as noisy is worth a word


def grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table, names to the left and figures to the right, in as many blocks as 80 columns ask for.

    Args:
        header: One text a column; \\n parts its lines.
        rows: Texts, each row as long as the header.
    """
    tops = [cell.split("\n") for cell in header]
    depth = max(map(len, tops))
    lines = [[(["", "", *top][-depth:])[i] for top in tops] for i in range(depth)]
    table = [*lines, *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    blocks: list[list[int]] = [[]]
    for i in range(1, len(header)):
        if widths[0] + sum(widths[j] + 2 for j in (*blocks[-1], i)) > WIDTH and blocks[-1]:
            blocks.append([])
        blocks[-1].append(i)
    printed = []
    for block in blocks:
        rule = "-" * (widths[0] + sum(widths[i] + 2 for i in block))
        text = [row[0].ljust(widths[0]) + "".join("  " + row[i].rjust(widths[i]) for i in block) for row in table]
        printed += [*text[:depth], rule, *text[depth:], ""]
    return [line.rstrip() for line in printed[:-1]]


def _number(value: float | None, digits: int = 2) -> str:
    if value is None:
        return "-"
    return f"{value:,.{digits}f}" if abs(value) < 1e5 else f"{value:.1e}"


def page(record: Record) -> str:
    """The comparison as plain text, 80 columns wide at most."""
    parts = [_opening(record), _contestants(record), _reasons(record), _matrix(record), _gradients(record)]
    return "\n\n".join("\n".join(lines) for lines in (list(part) for part in parts) if lines)


def _paragraph(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, break_on_hyphens=False)


def _opening(record: Record) -> Iterator[str]:
    s = record["settings"]
    held = f"{s['held_out_images']} held out" if s["held_out_images"] else "none held out: all were fitted on"
    yield from _paragraph(
        f"{_count(len(record['contestants']), 'objective')}, the same {s['patches']:,} patches of {s['patch_size']} x "
        f"{s['patch_size']} from {_count(s['images'], 'image')} ({held}), the same start, "
        f"{_count(s['max_steps'], 'step')} of {s['batch']:,} patches, sigma {s['sigma']:g}, "
        f"{_count(s['hidden'], 'unit')}."
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _contestants(record: Record) -> Iterator[str]:
    header = (
        "objective",
        "PSNR\ndB",
        "near best\nstep",
        "near best\nseconds",
        "total\nseconds",
        "noise\nstart",
        "noise\nend",
    )
    rows = []
    for c in record["contestants"]:
        step = c["near_best_step"]
        reached = f"{step:,}" if step is not None else "-" if c["psnr"] is None else "not reached"
        rows.append(
            (
                c["objective"],
                _number(c["psnr"]) if c["outcome"] == "done" else c["outcome"],
                reached,
                _number(c["near_best_seconds"], 1),
                _number(c["seconds"], 1),
                _number(c["gradient_noise_start"]),
                _number(c["gradient_noise_end"]),
            )
        )
    blank = ("",) * 5
    rows.append(("linear filter", _number(record["baselines"]["wiener"]), *blank))
    rows.append(("noisy", _number(record["baselines"]["noisy"]), *blank))
    yield from grid(header, rows)
    yield ""
    yield from _paragraph(
        "PSNR of held-out images denoised in one step, - where the score fitted is that of clean patches. Near best: "
        f"within {record['settings']['near_best_db']:g} dB of the best. Noise: standard deviation of the gradient of "
        "one batch, over the norm of the expected gradient at the start."
    )


def _reasons(record: Record) -> Iterator[str]:
    """Why some need more steps than others of the same minimum, or end elsewhere."""
    contestants = {c["objective"]: c for c in record["contestants"]}
    for name, c in contestants.items():
        if c["reason"]:
            yield from _paragraph(f"{name}, step {c['steps']:,}: {c['reason']}.")
    if "esm" in contestants:
        yield from _paragraph("esm takes a mixture of Gaussians, fitted to the patches, for the truth.")
    same = [contestants[n] for n in EQUIVALENT if n in contestants and contestants[n]["gradient_noise_end"]]
    quiet = min(same, key=lambda c: c["gradient_noise_end"], default=None)
    for c in same:
        ratio = c["gradient_noise_end"] / quiet["gradient_noise_end"] if quiet else 1.0
        if quiet and (ratio > NOISIER or _arrived(c) != _arrived(quiet)):
            yield from _paragraph(
                f"{c['objective']}: {_arrived(c)}, {quiet['objective']} {_arrived(quiet)}; the gradient of a batch is "
                f"{ratio:.2f} times as noisy at the end, so the same accuracy takes {ratio**2:.1f} times the patches."
            )


def _arrived(contestant: Record) -> str:
    if contestant["near_best_step"] is None:
        return f"not near the best after {contestant['steps']:,} steps"
    return f"near the best after {contestant['near_best_step']:,} steps"


def _matrix(record: Record) -> Iterator[str]:
    models = list(dict.fromkeys(entry["model"] for entry in record["matrix"]))
    if not models:
        return
    scaled = {(e["model"], e["objective"]): e["scaled"] for e in record["matrix"]}
    yield from _paragraph(
        "J of each model (rows) under each objective (columns) on held-out patches, times 2 sigma^2/d (dae: 1/(d "
        "sigma^2)): squared error per dimension over sigma^2, for implicit objectives less a constant."
    )
    yield ""
    yield from grid(("fitted with", *models), [(m, *(_number(scaled[m, o], 4) for o in models)) for m in models])
    same = [name for name in EQUIVALENT if name in models]
    values = [[scaled[m, o] for m in models] for o in same]
    if len(same) > 1 and len(models) > 1 and all(v is not None for column in values for v in column):
        gaps = [[v - first for v, first in zip(column, values[0], strict=True)] for column in values[1:]]
        apart = max(max(gap) - min(gap) for gap in gaps)
        yield ""
        yield from _paragraph(
            f"Columns of equivalent objectives differ by a constant: here to {apart:.4f}, while the models differ by "
            f"up to {max(values[0]) - min(values[0]):.4f}."
        )


def _gradients(record: Record) -> Iterator[str]:
    pairs = record["gradients"]
    if not pairs:
        return
    yield from _paragraph(
        "How parallel gradients are, at the same draws. Chance: the difference to expect of equal gradients; excess: "
        "what is above it, in standard errors, so that beyond 3 they are not equal."
    )
    for at in dict.fromkeys(pair["at"] for pair in pairs):
        yield ""
        rows = []
        for p in (pair for pair in pairs if pair["at"] == at):
            rounding = p["difference"] is not None and p["difference"] < (p["rounding"] or 0)
            rows.append(
                (
                    f"{p['first']}, {p['second']}" + ("" if p["equivalent"] else " (control)"),
                    _number(p["cosine"], 4),
                    _number(p["cosine_error"], 4),
                    f"{p['difference']:.0e}" if rounding else _number(p["difference"], 4),
                    _number(p["difference_error"], 4),
                    _number(p["noise"], 4),
                    "rounding" if rounding else _number(_standard(p), 1),
                )
            )
        where = "start" if at == "start" else f"end of {record['settings']['gradients_at_end_of']}"
        yield from grid(
            (f"at the {where}", "cosine", "+-", "difference", "+-", "chance", "excess"),
            rows,
        )


def _standard(pair: Record) -> float | None:
    if pair["excess"] is None or not pair["excess_error"]:
        return None
    return pair["excess"] / pair["excess_error"]
