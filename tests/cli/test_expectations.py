"""The table of what users expect names a test for each, and the tests are there."""

import re
from pathlib import Path

TESTS = Path(__file__).parent.parent
ROWS = [line for line in (TESTS / "cli" / "EXPECTATIONS.md").read_text().splitlines() if re.match(r"\| \d", line)]


def test_each_of_the_36_has_a_test_that_is_there():
    assert [int(row.split("|")[1]) for row in ROWS] == list(range(1, 37))
    for row in ROWS:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", row)
        assert named, row
        for file, name in named:
            assert re.search(rf"^def {name}\(", (TESTS / file).read_text(), re.M), (file, name)
