"""The page on statistics names the tests that compare with independent implementations."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_the_page_names_is_there() -> None:
    page = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))
    rooms = ("metrics", "evaluation")
    files = [path for room in rooms for path in (ROOT / "tests" / room).glob("test_*.py")]
    sources = [path.read_text(encoding="utf-8") for path in files]
    there = {name for text in sources for name in re.findall(r"\ndef (test_\w+)", text)}
    assert len(named) > 10
    assert not named - there
