"""No committed text names a machine, its folders or a package registry."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Written in parts, so that this file passes its own test.
HOSTS = [
    f"{name}.{ending}"
    for name, ending in [
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("registry.npmjs", "org"),
        ("npmjs", "com"),
        ("deb.debian", "org"),
        ("download.pytorch", "org"),
    ]
]
FORBIDDEN = {
    "a package registry's host": re.compile("|".join(map(re.escape, HOSTS)), re.IGNORECASE),
    "an absolute path of one machine": re.compile(
        r"(?<![\w.~-])/(?:root|home|work|Users|opt/wheels|mnt)/[\w.-]"
    ),
}
# A checkout without git (an unpacked archive) is walked instead; these are never committed.
GENERATED = {".git", ".venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
GENERATED |= {
    ".peers",
    ".hypothesis",
    ".import_linter_cache",
    "build",
    "dist",
    "demo",
    "runs",
    "htmlcov",
}


def committed_files() -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return [p for p in ROOT.rglob("*") if p.is_file() and not _generated(p)]
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def _generated(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    return parts[0] in GENERATED or "__pycache__" in parts or path.name.startswith(".coverage")


def text_of(path: Path) -> str | None:
    data = path.read_bytes()
    if b"\0" in data[:8192]:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_committed_text_holds(what: str) -> None:
    files = committed_files()
    assert ROOT / "pyproject.toml" in files
    found = []
    for path in files:
        text = text_of(path)
        if text is not None:
            found += [
                f"{path.relative_to(ROOT)}: {m.group()}" for m in FORBIDDEN[what].finditer(text)
            ]
    assert not found


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f"see https://{HOSTS[0]}/simple", "a package registry's host"),
        ('open("' + "/ro" + 'ot/file.svs")', "an absolute path of one machine"),
    ],
)
def test_the_patterns_find_what_they_are_for(text: str, what: str) -> None:
    assert FORBIDDEN[what].search(text)
