"""The documentation is true: its links, its commands, its formats, its examples."""

import re
import shlex
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
import typer.main

from wsi_specdec.cli.app import make_app
from wsi_specdec.cohort import COLUMNS, Slide
from wsi_specdec.config import RunnerConfig, TileConfig
from wsi_specdec.keys import CALL_COLUMNS
from wsi_specdec.runner import Outcome
from wsi_specdec.store import open_store
from wsi_specdec.tiling import tile_slides

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, *languages: str) -> list[str]:
    return [body for language, body in FENCE.findall(text_of(page)) if language in languages]


def anchors(page: Path) -> set[str]:
    """Heading anchors as GitHub makes them."""
    prose = FENCE.sub("", text_of(page))
    headings = re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def shell_commands(page: Path) -> list[list[str]]:
    lines = "\n".join(blocks(page, "sh", "bash", "console")).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line.lstrip("$ "), comments=True))]


def section(page: Path, heading: str) -> str:
    start = rf"^## {re.escape(heading)}.*?$"
    found = re.search(rf"{start}(.*?)(?=^## |\Z)", text_of(page), re.MULTILINE | re.DOTALL)
    assert found, f"{page.name} has no section {heading!r}"
    return found.group(1)


def first_cells(text: str) -> list[str]:
    """Names in backticks in the first column of every table."""
    rows = re.findall(r"^\|([^|]*)\|", text, flags=re.MULTILINE)
    return [name for cell in rows for name in re.findall(r"`([^`]+)`", cell)]


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `run/`, into which a real slide named slide-1 is tiled."""
    folder = tmp_path_factory.mktemp("docs")
    slide = Slide("slide-1", ROOT / "tests" / "data" / "CMU-1-Small-Region.svs", "patient-1")
    tiled = tile_slides(
        [slide], folder / "run", TileConfig(mpp=2.0, tile_size=64), RunnerConfig(workers=1)
    )
    assert tiled.ok
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_resolve(page: Path) -> None:
    for link in LINK.findall(FENCE.sub("", text_of(page))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_the_program_exist_with_their_flags(page: Path) -> None:
    program = typer.main.get_command(make_app())
    verbs = program.commands  # type: ignore[attr-defined]
    for words in shell_commands(page):
        if Path(words[0]).name != "wsi-specdec":
            continue
        shown = shlex.join(words)
        own = [words[1]] if words[1].startswith("-") else words[2:]
        command = program if words[1].startswith("-") else verbs.get(words[1])
        if own and command is not program and hasattr(command, "commands"):
            command, own = command.commands.get(own[0]), own[1:]
        assert command is not None, f"no such verb: {shown}"
        known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
        flags = {word.partition("=")[0] for word in own if re.match(r"--?[a-zA-Z]", word)}
        assert flags <= known | {"--help", "-h"}, shown


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page: Path) -> None:
    makefile = text_of(ROOT / "Makefile")
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    inline = re.findall(r"`make ([^`]+)`", text_of(page))
    named = [words[1:] for words in shell_commands(page) if words[0] == "make"]
    for words in [*(text.split() for text in inline), *named]:
        wanted = {word for word in words if "=" not in word and not word.startswith("-")}
        assert wanted <= targets, words


def test_manifest_columns_are_those_of_the_code() -> None:
    assert first_cells(section(DOCS / "formats.md", "Manifest")) == list(COLUMNS)


def test_ledger_columns_are_those_of_the_code() -> None:
    documented = first_cells(section(DOCS / "formats.md", "Ledger"))
    assert documented == [field.name for field in fields(Outcome)]


def test_call_columns_are_those_of_the_code() -> None:
    assert first_cells(section(DOCS / "formats.md", "Calls")) == list(CALL_COLUMNS)


def test_store_holds_what_is_documented(run_directory: Path) -> None:
    store = open_store(run_directory / "run" / "tiles" / "slide-1.zarr")
    arrays = {path.name for path in store.path.iterdir() if path.is_dir()}
    documented = first_cells(section(DOCS / "formats.md", "Tile store"))
    assert set(documented) == set(store.attributes) | arrays - {"quality"} | {"quality/<name>"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_run(
    page: Path, run_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run_directory)
    for number, code in enumerate(blocks(page, "python")):
        exec(compile(code, f"{page.name}, example {number + 1}", "exec"), {})  # noqa: S102


def test_rooms_and_rows_are_those_that_imports_are_checked_by() -> None:
    rows: list[list[str]] = []
    table = section(DOCS / "architecture.md", "Rows and rooms")
    for row, room in re.findall(r"^\| (\d?)[^|]*\|([^|]*)\|", table, flags=re.MULTILINE):
        names = re.findall(r"`(\w+)`", room)
        if row:
            rows.append(names)
        elif names and rows:
            rows[-1] += names
    pyproject = tomllib.loads(text_of(ROOT / "pyproject.toml"))
    layers = pyproject["tool"]["importlinter"]["contracts"][0]["layers"]
    contract = [re.split(r"\s*[:|]\s*", layer) for layer in layers if layer != "__main__"]
    assert [sorted(names) for names in rows] == [sorted(names) for names in contract]
