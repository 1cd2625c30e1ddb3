"""The files of a data set, found by name wherever its archives were unpacked to."""

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wsi_specdec.errors import ManifestError

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class DataFiles:
    """The files below a folder by name, and what of them was looked for in vain.

    Attributes
    ----------
    folder
        Where the data set was unpacked.
    title
        Name of the data set, for messages.
    expected
        Its files as they are published, a line each, for messages.
    """

    folder: Path
    title: str
    expected: Sequence[str]
    _by_name: dict[str, list[Path]] = field(default_factory=dict)
    _missing: list[str] = field(default_factory=list)

    @classmethod
    def below(cls, folder: Path, title: str, expected: Sequence[str]) -> "DataFiles":
        """List the files below a folder; hidden ones are passed over.

        Raises
        ------
        ManifestError
            If there is no such folder.
        """
        files = cls(folder, title, tuple(expected))
        if not folder.is_dir():
            msg = f"there is no folder {folder}"
            raise files.fail(msg)
        for parent, folders, names in os.walk(folder, followlinks=True):
            folders.sort()
            for name in sorted(names):
                if not name.startswith("."):
                    files._by_name.setdefault(name.casefold(), []).append(Path(parent, name))
        return files

    @property
    def names(self) -> list[str]:
        """Names of all files, without regard to case."""
        return sorted(self._by_name)

    def find(self, name: str, *, within: Sequence[str] = ()) -> Path | None:
        """Return the file of a name, whatever its case; None where there is none.

        Parameters
        ----------
        name
            File name.
        within
            Names of folders, in one of which it lies at any depth.

        Raises
        ------
        ManifestError
            If there are several.
        """
        found = self._by_name.get(name.casefold(), [])
        if within:
            found = [p for p in found if set(p.relative_to(self.folder).parts[:-1]) & set(within)]
        if len(found) > 1:
            msg = f"two files are called {name}: {found[0]} and {found[1]}; leave one of them"
            raise self.fail(msg)
        return found[0] if found else None

    def need(self, name: str, *, within: Sequence[str] = ()) -> Path | None:
        """Return the file of a name, and note it as missing where there is none."""
        path = self.find(name, within=within)
        if path is None:
            self._missing.append(name)
        return path

    def table(self, *names: str) -> tuple[Path, list[list[str]]]:
        """Read a table of labels, of which the first file that exists is taken.

        Parameters
        ----------
        names
            Names that the file has in one release or another.

        Returns
        -------
        The file, and its rows, a header among them where it has one.

        Raises
        ------
        ManifestError
            If there is no such file or it cannot be read.
        """
        path = next((p for name in names if (p := self.find(name)) is not None), None)
        if path is None:
            msg = f"{self.folder} holds no {' or '.join(names)}"
            raise self.fail(msg)
        try:
            lines = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            msg = f"cannot read {path}: {error}"
            raise self.fail(msg) from error
        return path, [
            [cell.strip() for cell in line] for line in lines if any(map(str.strip, line))
        ]

    def columns(self, names: tuple[str, ...], *wanted: str) -> tuple[Path, list[list[str]]]:
        """Read a table of labels that has a header.

        Parameters
        ----------
        names
            As `table` takes them.
        wanted
            Columns, in the order in which the rows are to have them.

        Raises
        ------
        ManifestError
            As `table`; if a column is missing or a row is too short.
        """
        path, lines = self.table(*names)
        header, rows = (lines[0], lines[1:]) if lines else ([], [])
        if lacking := [name for name in wanted if name not in header]:
            msg = f"{path} has no column {', '.join(lacking)}"
            raise self.fail(msg)
        places = [header.index(name) for name in wanted]
        if short := [row for row in rows if len(row) <= max(places)]:
            msg = f"{path}: the row {','.join(short[0])!r} has too few cells"
            raise self.fail(msg)
        return path, [[row[place] for place in places] for row in rows]

    def check(self, *, partial: bool) -> None:
        """Name everything that was missing, at once.

        Raises
        ------
        ManifestError
            If anything was, and `partial` is not set.
        """
        if not self._missing or partial:
            return
        shown = ", ".join(self._missing[:_SHOWN])
        more = len(self._missing) - _SHOWN
        msg = (
            f"{len(self._missing)} files are missing below {self.folder}: {shown}"
            f"{f' and {more} more' if more > 0 else ''}. Download and unpack them, or leave their "
            "slides out with --set dataset.partial=true"
        )
        raise self.fail(msg)

    def fail(self, what: str) -> ManifestError:
        """Return an error that also says how the data set is laid out."""
        layout = "\n".join(f"  {line}" for line in self.expected)
        return ManifestError(f"{self.title}: {what}.\nExpected (docs/datasets.md):\n{layout}")
