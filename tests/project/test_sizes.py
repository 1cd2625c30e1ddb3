"""A long file or function is a sign that two things live together."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "wsi_specdec").rglob("*.py"))
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name and number of lines of each function, without its docstring."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            documented = ast.get_docstring(node) is not None
            docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
            yield node.name, (node.end_lineno or 0) - node.lineno + 1 - docstring


def test_files_are_short() -> None:
    lines = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert not {name: count for name, count in lines.items() if count > MAX_FILE_LINES}


def test_functions_are_short() -> None:
    # A verb's signature is its flags: its length says nothing about what it does.
    judged = [path for path in FILES if "cli" not in path.relative_to(ROOT).parts]
    assert len(judged) > 50
    found = [(path.name, name, lines) for path in judged for name, lines in functions(path)]
    assert not [entry for entry in found if entry[2] > MAX_FUNCTION_LINES]
