"""The page's own files: ours from the package, Leaflet's from the package that carries it."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from wsi_specdec.errors import ConfigError

PAGE: Final = "index.html"
_OURS: Final = (
    PAGE,
    "viewer.css",
    "main.js",
    "address.js",
    "bar.js",
    "list.js",
    "map.js",
    "scores.js",
)
_CARRIER: Final = "XStatic-Leaflet"
_THEIRS: Final = ("leaflet.js", "leaflet.css")
_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file's bytes and media type."""

    data: bytes
    media_type: str


def load_assets() -> dict[str, Asset]:
    """Read the page's files, by name; what is not among them is not served.

    Raises
    ------
    ConfigError
        If the packages of the extra `viewer` are not installed.
    """
    check_installed()
    carrier = distribution(_CARRIER)
    theirs = Path(str(carrier.locate_file("xstatic/pkg/leaflet/data")))
    found = {name: (theirs / name).read_bytes() for name in _THEIRS}
    folder = files("wsi_specdec.viewer") / "static"
    found |= {name: (folder / name).read_bytes() for name in _OURS}
    return {name: Asset(data, _TYPES[name.rpartition(".")[2]]) for name, data in found.items()}


def check_installed() -> None:
    """Refuse to start where the extra `viewer` is not installed.

    Raises
    ------
    ConfigError
        Naming what lacks.
    """
    lacking = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    try:
        distribution(_CARRIER)
    except PackageNotFoundError:
        lacking.append(_CARRIER)
    if lacking:
        msg = (
            f"the viewer needs {', '.join(lacking)}: install the extra with "
            "`pip install 'wsi-specdec[viewer]'`"
        )
        raise ConfigError(msg)
