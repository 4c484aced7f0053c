"""The results as a page of plain text, no line of which is wider than 80 columns."""

from smdae.comparing.parts import PARTS
from smdae.comparing.record import Record
from smdae.comparing.text import paragraph

__all__ = ["opening", "page"]


def page(record: Record) -> str:
    """Return the comparison as plain text of several lines, at most 80 columns wide."""
    blocks = [paragraph(opening(record))]
    for name, part in record.parts.items():
        title = PARTS[name].title
        blocks.append([title.upper(), *PARTS[name].summarise(part.tables)])
    if record.left_out:
        blocks.append([line for row in record.left_out for line in paragraph(f"Left out: {row.what}: {row.reason}.")])
    return "\n\n".join("\n".join(line.rstrip() for line in block) for block in blocks if block)


def opening(record: Record) -> str:
    """Return what was compared, in a sentence or two."""
    s = record.settings
    if s["target"]:
        source = f"samples of {s['target']} with {s['dim']} numbers each"
    elif s["patch_size"] == 1:
        source = f"rows of {_count(s['dim'], 'number')}"
    else:
        held = f"{s['held_out_images']} held out" if s["held_out_images"] else "none held out: all were fitted on"
        source = f"patches of {s['patch_size']} x {s['patch_size']} from {_count(s['images'], 'image')} ({held})"
    fits = f", {s['seeds']} fits of each" if s["seeds"] > 1 else ""
    return (
        f"{_count(len(s['objectives']), 'objective')}, the same {s['patches']:,} {source}, the same start, "
        f"{_count(s['max_steps'], 'step')} of {s['batch']:,} patches{fits}, sigma {s['sigma']:g}, "
        f"{_count(s['hidden'], 'unit')}."
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
