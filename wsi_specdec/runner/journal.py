"""An append-only file of JSON lines that survives kills and full disks."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from wsi_specdec.errors import ConfigError


class Journal:
    """Appends JSON objects to a file, a line each.

    What a full disk refuses is kept in memory and written before whatever comes next. A line torn
    by a kill is closed, so that it spoils no other.

    Parameters
    ----------
    path
        The file, made if it is missing.

    Raises
    ------
    ConfigError
        If it cannot be written to, or another process holds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unwritten = bytearray()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered, so that it is known which bytes a full disk took.
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            msg = f"cannot write to {path.parent}: {error}"
            raise ConfigError(msg) from error
        _lock(self._file, path.parent)
        if _is_torn(path):
            self._unwritten += b"\n"

    def append(self, value: Mapping[str, Any]) -> None:
        """Write one object, on disk before this returns unless the disk refuses it."""
        self._unwritten += json.dumps(value, ensure_ascii=False).encode() + b"\n"
        self.write_pending()

    def write_pending(self) -> OSError | None:
        """Write what is not written yet; return why it cannot be, None if all is written."""
        try:
            while self._unwritten:
                del self._unwritten[: self._file.write(self._unwritten)]
            os.fsync(self._file.fileno())
        except OSError as error:
            return error
        return None

    def close(self) -> OSError | None:
        """Let go of the file; return why its last lines could not be written, if so."""
        if self._file.closed:
            return None
        refusal = self.write_pending()
        self._file.close()
        return refusal


def read_journal(path: Path) -> Iterator[Any]:
    """Yield the objects of a journal, leaving out lines that a kill tore."""
    if not path.exists():
        return
    with path.open("rb") as handle:
        for line in handle:
            try:
                yield json.loads(line)
            except ValueError:
                continue


def _lock(handle: BinaryIO, out: Path) -> None:
    """Hold the journal for this process; the system lets go of it however the process ends."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        handle.close()
        msg = f"another run is writing to {out}: wait for it, or choose another --out"
        raise ConfigError(msg) from error
    except OSError:
        # Some network file systems have no locks; there the user has to take care.
        return


def _is_torn(path: Path) -> bool:
    with path.open("rb") as handle:
        if handle.seek(0, os.SEEK_END) == 0:
            return False
        handle.seek(-1, os.SEEK_END)
        return handle.read(1) != b"\n"
