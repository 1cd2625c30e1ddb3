"""The wheel holds everything the package needs where there is no checkout."""

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from configparser import ConfigParser
from email.parser import Parser
from pathlib import Path

import pytest

import wsi_specdec

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "wsi_specdec"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run(
        [*command, str(ROOT)], capture_output=True, text=True, check=False, cwd=out
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def package_files() -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_wheel_holds_the_package_and_the_pipelines_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    pipelines = {
        f"wsi_specdec/{path.relative_to(ROOT).as_posix()}"
        for path in (ROOT / "pipelines").rglob("*")
        if path.is_file()
    }
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == package_files() | pipelines


@pytest.mark.parametrize(
    "pattern", ["py.typed", "demo/data/*", "report/templates/*", "**/*.schema.json"]
)
def test_files_that_are_not_python_ship_too(wheel: zipfile.ZipFile, pattern: str) -> None:
    wanted = [path for path in PACKAGE.glob(pattern) if path.is_file()]
    assert wanted, f"nothing in the package matches {pattern}"
    held = set(wheel.namelist())
    assert all(path.relative_to(ROOT).as_posix() in held for path in wanted)


def test_entry_points_are_declared(wheel: zipfile.ZipFile) -> None:
    (name,) = (n for n in wheel.namelist() if n.endswith("entry_points.txt"))
    parser = ConfigParser(delimiters="=")
    parser.read_string(wheel.read(name).decode())
    assert parser["console_scripts"]["wsi-specdec"] == "wsi_specdec.cli:main"
    assert parser["zarr.codecs"]["wsi_specdec.jpeg"] == "wsi_specdec.store.codec:JpegCodec"


def test_metadata_names_version_python_and_licence(wheel: zipfile.ZipFile) -> None:
    (name,) = (n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    metadata = Parser().parsestr(wheel.read(name).decode())
    assert metadata["Version"] == wsi_specdec.__version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert any(n.endswith(".dist-info/licenses/LICENSE") for n in wheel.namelist())
