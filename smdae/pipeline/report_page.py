"""The page of `denoise --report`: one HTML file that needs no network, with all pictures and figures in it.

Texts from outside, such as names of files, are escaped; a policy in the page forbids loading anything and running any
script but its own. Without scripts the pictures stand one below the other.
"""

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from smdae import __version__
from smdae.pipeline.report_style import SCRIPT, STYLE
from smdae.pipeline.report_views import Pair, View

CHART = 560, 240  # pixels
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 40  # of these, around the curve


def page(records: Sequence[Mapping[str, Any]], views: Sequence[View]) -> bytes:
    """Return the page as HTML: the JSON records of all pictures, and views of some, in the same order."""
    by_name = {record["input"]: record for record in records}
    first = {view.name: number for number, view in reversed(list(enumerate(views)))}
    sections = [_section(number, view, by_name[view.name]) for number, view in enumerate(views)]
    done = sum("error" not in record and "skipped" not in record for record in records)
    failed = sum("error" in record for record in records)
    counts = {"denoised": done, "failed": failed, "skipped": len(records) - done - failed}
    opening = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    if len(first) < sum("noise" in record for record in records):  # of videos none is shown
        opening += f"; the first {len(first)} are shown"
    links = {name: f"#p{number}" for name, number in first.items()}
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()}'"
    )
    body = [
        "<h1>What smdae denoise did</h1>",
        f"<p>{escape(opening)}</p>",
        _table(records, links) if len(records) > 1 or not views else "",
        *sections,
        f"<p class='soft'>smdae {escape(__version__)}</p>",
    ]
    return (
        "<!DOCTYPE html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>What smdae denoise did</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + f"\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    ).encode("utf-8", "backslashreplace")


def _table(records: Sequence[Mapping[str, Any]], links: Mapping[str, str]) -> str:
    rows = "\n".join(_row(record, links.get(record["input"])) for record in records)
    head = "".join(f"<th>{name}</th>" for name in ("picture", "result", "noise", "sigma", "PSNR, estimated"))
    return f"<div class='scroll'><table id='all'><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>"


def _row(record: Mapping[str, Any], link: str | None) -> str:
    name = escape(str(record["input"]))
    first = f"<a href='{link}'>{name}</a>" if link else name
    if "error" in record:
        return f"<tr class='bad'><td>{first}</td><td colspan='4'>failed: {escape(str(record['error']))}</td></tr>"
    if "skipped" in record:
        return f"<tr><td>{first}</td><td colspan='4'>skipped: {escape(str(record['output']))} is there</td></tr>"
    if "frames" in record:
        told = f"video of {record['frames']:,} frames, of which none is shown here"
        return f"<tr><td>{first}</td><td>{escape(str(record['output']))}</td><td colspan='3'>{told}</td></tr>"
    noise = record["noise"] if isinstance(record["noise"], list) else [record["noise"]]
    kinds = {page["kind"] for page in noise}
    cells = [str(record["output"]), ", ".join(sorted(kinds)), _levels(noise), _quality(record)]
    return f"<tr><td>{first}</td>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _levels(noise: Sequence[Mapping[str, Any]]) -> str:
    """Return the levels of noise on the 0 to 255 scale, or in the picture's unit if its white is no usual one."""
    from smdae.noise_text import short

    levels = [page["sigma"] for page in noise]
    ends = [min(levels), max(levels)] if levels else []  # none of a file with nothing to denoise
    return " to ".join(dict.fromkeys(map(short, ends)))


def _flat(values: list[Any]) -> list[Any]:
    """Return the values of a list, some of which may be lists."""
    return [value for part in values for value in (part if isinstance(part, list) else [part])]


def _quality(record: Mapping[str, Any]) -> str:
    """Return the PSNR of a result: "31.2 +- 0.7 dB" if estimated, and "; measured 31.4 dB, ..." with a reference."""
    psnr, error = record.get("psnr_estimated"), record.get("psnr_estimated_error")
    if isinstance(psnr, list):
        known = [value for value in psnr if value is not None]
        text = f"{min(known):.1f} to {max(known):.1f} dB" if known else "not estimated"
    else:
        text = "not estimated" if psnr is None or error is None else f"{psnr:.1f} +- {max(error, 0.1):.1f} dB"
    if isinstance(record.get("psnr"), float) and math.isfinite(record["psnr"]):
        text += f"; measured {record['psnr']:.2f} dB, noisy {record['psnr_noisy']:.2f}"
    return text


def _section(number: int, view: View, record: Mapping[str, Any]) -> str:
    model = record["model"]
    digest = f" ({model['digest'][:8]})" if model.get("digest") else ""
    facts = {
        "noise": view.described,
        "PSNR": _quality(record),
        "model": f"{model['name']}{digest}",
        "result": str(record["output"]),
    }
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts.items())
    doubts = record.get("doubts") or []
    warned = [*view.warnings, *(f"the PSNR is not estimated: {doubt}" for doubt in dict.fromkeys(_flat(doubts)))]
    warnings = "".join(f"<li>{escape(text)}</li>" for text in warned)
    pairs = "\n".join(_pair(f"{number}-{k}", pair) for k, pair in enumerate(view.pairs))
    return (
        f"<section id='p{number}'><h2>{escape(view.name)}</h2><p class='soft'>{escape(view.size)}</p>\n"
        f"<dl>{rows}</dl>\n"
        + (f"<ul class='warnings'>{warnings}</ul>\n" if warnings else "")
        + pairs
        + _chart(view)
        + "</section>"
    )


def _pair(key: str, pair: Pair) -> str:
    def image(kind: str, data: bytes) -> str:
        source = base64.b64encode(data).decode()
        return (
            f"<img class='{kind}' alt='{kind}' width='{pair.width}' height='{pair.height}' "
            f"src='data:image/png;base64,{source}'>"
        )

    zooms = "".join(f"<button type='button' data-zoom='{zoom}'>{zoom} x</button>" for zoom in (1, 2, 4, 8))
    return (
        f"<figure class='pair'><figcaption>{escape(pair.title)}</figcaption>\n"
        f"<div class='tools'><label>before <input type='range' min='0' max='100' value='50' step='any' "
        f"aria-label='how much is shown as it was before'> after</label>"
        f"<span><button type='button' data-zoom='fit' class='on'>fit</button>{zooms}"
        f"<button type='button' data-residual aria-pressed='false'>what was taken out</button></span></div>\n"
        f"<div class='window' tabindex='0' id='w{key}'><div class='stack' style='--at:50%'>"
        f"{image('after', pair.after)}{image('before', pair.before)}{image('residual', pair.residual)}</div></div>\n"
        f"<p class='soft'>What was taken out is shown {_amplified(pair.gain)}, gray being none: what can be recognised "
        "in it was in the picture.</p></figure>\n"
    )


def _amplified(gain: int) -> str:
    return "as it is" if gain == 1 else f"{gain} times as strong"


def _chart(view: View) -> str:
    """Return the chart of the level of the noise by brightness, as an SVG drawing."""
    if view.curve is None:
        return ""
    x, y = view.curve
    width, height = CHART
    top = 1.15 * max(y) or 1.0

    def at(brightness: float, level: float) -> str:
        across = LEFT + (width - LEFT - RIGHT) * (brightness - x[0]) / ((x[-1] - x[0]) or 1.0)
        return f"{across:.1f},{TOP + (height - TOP - BOTTOM) * (1 - level / top):.1f}"

    points = " ".join(at(brightness, level) for brightness, level in zip(x, y, strict=True))
    marks = ""
    for share in (0.0, 0.5, 1.0):
        across, down = at(x[0], share * top).split(",")
        marks += f"<line x1='{across}' x2='{width - RIGHT}' y1='{down}' y2='{down}'/>"
        marks += f"<text x='{LEFT - 8}' y='{float(down) + 4:.1f}' text-anchor='end'>{share * top:.3g}</text>"
        value = x[0] + share * (x[-1] - x[0])
        across = at(value, 0).split(",")[0]
        anchor = {0.0: "start", 0.5: "middle", 1.0: "end"}[share]
        marks += f"<text x='{across}' y='{height - BOTTOM + 18}' text-anchor='{anchor}'>{value:.3g}</text>"
    words = f"level of the noise (sigma) by brightness, {view.unit}"
    return (
        f"<figure><svg viewBox='0 0 {width} {height}' role='img' aria-label='{escape(words)}'>{marks}"
        f"<polyline points='{points}'/></svg><figcaption>{escape(words)}</figcaption></figure>"
    )
