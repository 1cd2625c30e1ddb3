"""What a result was made with: versions, git revision, platform, command and inputs' hashes."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import wsi_specdec

_PACKAGES = ("numpy", "openslide-python", "tiffslide", "zarr", "torch", "timm", "scikit-learn")


@cache
def git_revision() -> str | None:
    """Revision of the checkout this package runs from, `-dirty` if changed; None outside one."""
    folder = Path(wsi_specdec.__file__).parent
    try:
        command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
        done = subprocess.run(  # noqa: S603 - fixed arguments
            command, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


@cache
def package_versions() -> dict[str, str]:
    """Versions of this package, Python and the libraries that shape its results."""
    versions = {"python": platform.python_version(), "wsi-specdec": wsi_specdec.__version__}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def provenance(inputs: Mapping[str, str] | None = None, seed: int | None = None) -> dict[str, Any]:
    """Describe this run.

    Parameters
    ----------
    inputs
        Name to hash of whatever the result was computed from.
    seed
        The seed used, where there is one.
    """
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "versions": package_versions(),
        "git_revision": git_revision(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "seed": seed,
        "inputs": dict(inputs or {}),
    }
