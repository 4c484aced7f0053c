"""What the site shows that is not written by hand: commands, model cards, packages, and the pages at the root.

mkdocs calls the functions whose names begin with `on_`.
"""

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any

import typer
from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

AT_ROOT = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md", "security.md": "SECURITY.md"}


def on_config(config: Any) -> Any:
    """Add the pages to the navigation that no entry of mkdocs.yml names, under Reference, by their titles."""
    named = set(re.findall(r"[\w/-]+\.md", json.dumps(config.nav)))
    pages = sorted(path.relative_to(config.docs_dir).as_posix() for path in Path(config.docs_dir).rglob("*.md"))
    reference = next(entry["Reference"] for entry in config.nav if "Reference" in entry)
    reference += [page for page in pages if page not in named]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made."""
    made = {"reference/commands.md": commands(), "reference/models.md": models()}
    made |= {page: (ROOT / name).read_text() for page, name in AT_ROOT.items()}
    for page, text in made.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Fill in the packages, and let links to files at the root lead to their pages."""
    if page.file.src_uri == "development/architecture.md":
        markdown = markdown.replace("PACKAGES", packages())
    up = "../" * page.file.src_uri.count("/")
    for target, name in AT_ROOT.items():
        markdown = re.sub(rf"\]\((?:\.\./)*{re.escape(name)}", f"]({up}{target}", markdown)
    if page.file.src_uri in AT_ROOT:
        markdown = re.sub(r"\]\(docs/", "](", markdown)
    return markdown


def cell(text: str) -> str:
    """Return a text for a cell of a table, in one line."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def commands() -> str:
    """Return the reference of all commands, from their own help."""
    from smdae.cli.app import app

    group: Any = typer.main.get_command(app)
    context = group.make_context("smdae", [], resilient_parsing=True)
    lines = ["# Commands", "", "Made from the commands themselves; `smdae COMMAND --help` prints the same.", ""]
    lines += options_of(group, context)
    for name, command in group.commands.items():
        about, *examples = (command.help or "").replace("\b", "").strip().split("\n\n")
        lines += [f"## smdae {name}", "", about, ""]
        if examples:
            lines += ["```text", *(line.strip() for text in examples for line in text.splitlines()), "```", ""]
        lines += options_of(command, command.make_context(name, [], parent=context, resilient_parsing=True))
    return "\n".join(lines)


def options_of(command: Any, context: Any) -> list[str]:
    """Return a table of the arguments and options of a command."""
    rows = ["| option | what it does | default |", "| --- | --- | --- |"]
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None:
            continue
        name, text = record
        default = re.search(r"\[(?:[^\[\]]*; *)?default: (.*?)\]", text)
        text = re.sub(r"\s*\[[^\[\]]*(?:default|required|env var)[^\[\]]*\]", "", text)
        name = name.replace("|", "\\|")
        rows.append(f"| `{name}` | {cell(text)} | {cell(default[1]) if default else ''} |")
    return [*rows, ""]


def models() -> str:
    """Return a card of each bundled model, from its file."""
    lines = [
        "# Models",
        "",
        "Made from the model files themselves. Terms and training sets: `smdae/weights/LICENSE.md`, below.",
        "",
    ]
    versions = json.loads((ROOT / "smdae" / "weights" / "models.json").read_text())
    for path in sorted((ROOT / "smdae" / "weights").glob("*.safetensors")):
        card = card_of(path)
        settings, held = card["settings"], card["held_out_psnr_at"]
        weights = sum(count for count in card["counts"])
        levels = " to ".join(f"{level:g}" for level in card["sigma"])
        rows = {
            "version": f"`{path.stem}@{versions[path.stem]['version']}`",
            "kind": card["model"],
            "channels": f"{card['channels']}",
            "fitted by": f"`{card['objective']}`, for sigma {levels}",
            "takes the noise model": "yes" if settings.get("takes_noise") else "no: white noise of one level",
            "weights": f"{weights:,}, {path.stat().st_size / 1e6:.1f} MB",
            "fitted on": card["about"],
            "pictures": f"{card['images']:,}, and {card['held_out_images']} held out",
            "held-out PSNR": ", ".join(f"{value:.2f} dB at sigma {level}" for level, value in held.items()),
            "last fit": f"{card['steps']:,} steps, {card['seconds'] / 60:.0f} minutes, seed {card['seed']}",
            "recipe": f"`smdae/weights/{path.stem}.yaml`",
        }
        lines += [f"## {path.stem}", "", f"| | {path.stem} |", "| --- | --- |"]
        lines += [f"| {name} | {cell(value)} |" for name, value in rows.items()] + [""]
    terms = (ROOT / "smdae" / "weights" / "LICENSE.md").read_text()
    return "\n".join(lines) + "\n" + re.sub(r"^#", "##", terms, flags=re.MULTILINE)


def card_of(path: Path) -> dict[str, Any]:
    """Return what a model file says of itself, with the numbers of weights of its tensors as `counts`."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    card = json.loads(header["__metadata__"]["card"])
    counts = []
    for name, tensor in header.items():
        if name != "__metadata__":
            count = 1
            for side in tensor["shape"]:
                count *= side
            counts.append(count)
    return card | {"counts": counts}


def packages() -> str:
    """Return a table of the packages and modules of smdae, by the first line of each docstring."""
    rows = ["| module | what it is about |", "| --- | --- |"]
    source = ROOT / "smdae"
    places = [p for p in sorted(source.iterdir()) if p.suffix == ".py" or (p / "__init__.py").exists()]
    for path in places:
        if path.name.startswith("__"):
            continue
        file = path if path.suffix == ".py" else path / "__init__.py"
        first = (ast.get_docstring(ast.parse(file.read_text())) or "").split("\n\n")[0]
        rows.append(f"| `{path.name}{'' if path.suffix else '/'}` | {cell(first)} |")
    return "\n".join(rows)
