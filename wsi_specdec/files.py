"""Atomic writes, hashes, and where the shipped files lie."""

import hashlib
import json
import os
import shutil
import uuid
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wsi_specdec.errors import ConfigError

_BLOCK = 1 << 20


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename it to `path` if the block succeeds.

    Works for a file or a folder, so that a kill leaves either the old result or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: several writers choose the format by it.
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}.partial.{path.name}")
    try:
        yield temporary
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically; NaN and infinity are refused, since JSON has neither."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:  # noqa: ANN401 - JSON holds any of its types
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def sha256_of(value: Mapping[str, Any]) -> str:
    """Hash a JSON-compatible mapping, independently of its key order."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Hash a whole file in bounded memory."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def fingerprint(path: Path, *, full: bool = False) -> str:
    """Identify a large file by its size, its first and its last MiB; by all of it if `full`."""
    size = path.stat().st_size
    if full or size <= 2 * _BLOCK:
        return f"{size}-{sha256_of_file(path)}"
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        digest.update(handle.read(_BLOCK))
        handle.seek(-_BLOCK, os.SEEK_END)
        digest.update(handle.read(_BLOCK))
    return f"{size}-{digest.hexdigest()}"


def open_for(owner: object, path: Path) -> int:
    """Open a file for reading: its descriptor, which is closed when `owner` is let go of.

    Raises
    ------
    OSError
        If it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    weakref.finalize(owner, os.close, descriptor).atexit = False
    return descriptor


def remove_partials(folder: Path) -> None:
    """Remove what a killed run left behind under temporary names."""
    for leftover in folder.glob(".*.partial.*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def pipeline_file(name: str) -> Path:
    """Path of a shipped `pipelines/<name>.yaml`, in a checkout or in an installed package.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    package = Path(__file__).parent
    folders = (package / "pipelines", package.parent / "pipelines")
    for folder in folders:
        candidate = folder / f"{name}.yaml"
        if candidate.is_file():
            return candidate
    known = sorted({p.stem for folder in folders for p in folder.glob("*.yaml")})
    msg = f"no pipeline named {name!r}; there are: {', '.join(known)}"
    raise ConfigError(msg)
