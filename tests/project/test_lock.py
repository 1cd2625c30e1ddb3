"""The lock files: pinned, hashed, without addresses, consistent, and what is installed here."""

import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = ("bootstrap", "lock", "runtime")


@dataclass(frozen=True)
class Pin:
    """One entry of a lock file."""

    requirement: Requirement
    hashes: frozenset[str]

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        (specifier,) = self.requirement.specifier
        assert specifier.operator == "=="
        return specifier.version

    def applies_here(self) -> bool:
        return self.requirement.marker is None or self.requirement.marker.evaluate()


def read_lock(name: str) -> dict[str, Pin]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    pins = {}
    for entry in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        requirement, *hashes = re.split(r"\s+--hash=", entry.strip())
        pin = Pin(Requirement(requirement), frozenset(hashes))
        assert pin.name not in pins, f"{pin.name} is pinned twice in {name}.txt"
        pins[pin.name] = pin
    return pins


@pytest.mark.parametrize("name", LOCKS)
def test_every_requirement_is_pinned_and_hashed(name: str) -> None:
    pins = read_lock(name)
    assert pins
    for pin in pins.values():
        assert pin.version
        assert pin.hashes, f"{pin.name} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in pin.hashes)


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").iterdir()), ids=lambda p: p.name)
def test_no_address_stands_in_a_lock(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"--(extra-)?index-url|--find-links|\s@\s", text)


@pytest.mark.parametrize("name", ["runtime", "bootstrap"])
def test_the_smaller_locks_agree_with_the_large_one(name: str) -> None:
    whole, part = read_lock("lock"), read_lock(name)
    assert part.keys() < whole.keys()
    for pin in part.values():
        assert pin.version == whole[pin.name].version
        assert pin.hashes == whole[pin.name].hashes


@pytest.mark.parametrize(("name", "extras"), [("lock", ["dev"]), ("runtime", [])])
def test_every_dependency_of_the_project_is_locked(name: str, extras: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = list(project["dependencies"])
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    pins = read_lock(name)
    for requirement in map(Requirement, wanted):
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement} is not in {name}.txt; run `make lock`"
        assert pin.version in requirement.specifier, f"{name}.txt is stale; run `make lock`"


def test_development_tools_are_not_in_the_runtime_lock() -> None:
    assert not read_lock("runtime").keys() & {"pytest", "mypy", "ruff", "uv", "hatchling"}


def test_what_is_tested_is_what_is_locked() -> None:
    differing = {}
    for pin in read_lock("lock").values():
        try:
            installed = version(pin.name)
        except PackageNotFoundError:
            installed = "not installed"
        if pin.applies_here() and installed != pin.version:
            differing[pin.name] = f"{installed}, locked {pin.version}"
    assert not differing, "run `make install`"


def test_torch_torchvision_and_timm_fit_together() -> None:
    code = (
        "import torch, torchvision, timm; model = timm.create_model('resnet18', num_classes=1);"
        "boxes = torch.tensor([[0., 0., 2., 2.]]);"
        # A torchvision of another build imports, and fails only when its operators are called.
        "print(model.num_classes, torchvision.ops.nms(boxes, torch.ones(1), 0.5).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "[0]"]
