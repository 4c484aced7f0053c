"""Tables as Markdown, which is what a script prints for a page."""


def row(*cells: object) -> str:
    """Return a row of a table."""
    return "| " + " | ".join(map(str, cells)) + " |"


def head(*cells: object) -> str:
    """Return the first two lines of a table."""
    return f"{row(*cells)}\n{row(*('---' for _ in cells))}"
