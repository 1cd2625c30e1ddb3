"""Serves a folder on an address of this machine, until it is told to stop."""

import secrets
import socket
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from wsi_specdec.config import ViewConfig
from wsi_specdec.errors import ConfigError
from wsi_specdec.viewer.assets import check_installed, load_assets
from wsi_specdec.viewer.catalogue import read_catalogue

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_KEY_BYTES = 24
_SECONDS_TO_STOP = 1


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def serve(folder: Path, config: ViewConfig, announce: Callable[[str], None]) -> None:
    """Serve the slides of a folder to browsers; returns when interrupted.

    Parameters
    ----------
    folder
        A run directory, or a folder of slides.
    config
        Where to listen, and limits.
    announce
        Is told the address to open, once it can be opened.

    Raises
    ------
    ConfigError
        If the extra `viewer` is not installed, or the address cannot be listened on.
    ManifestError, StoreError
        If the folder holds no slides, or files that cannot be read.
    """
    check_installed()
    import uvicorn

    listener = listen(config.host, config.port)
    with listener:
        port = listener.getsockname()[1]
        key = secrets.token_urlsafe(_KEY_BYTES)
        server = uvicorn.Server(
            uvicorn.Config(
                guarded_app(folder, config, key),
                log_level="warning",
                access_log=False,
                server_header=False,
                ws="none",
                http="h11",
                loop="asyncio",
                timeout_graceful_shutdown=_SECONDS_TO_STOP,
            )
        )
        announce(address(config.host, port, key))
        try:
            server.run([listener])
        except KeyboardInterrupt:
            # The way to end it.
            return


def guarded_app(folder: Path, config: ViewConfig, key: str | None) -> "ASGIApp":
    """Make the application that serves a folder to those who know `key`, or to all without one."""
    from wsi_specdec.viewer.app import make_app
    from wsi_specdec.viewer.content import Content
    from wsi_specdec.viewer.guard import Guard

    assets = load_assets()
    app = make_app(Content(read_catalogue(folder), config), assets)
    if is_loopback(config.host):
        return Guard(app, key=key)
    names = frozenset({config.host, socket.gethostname()})
    return Guard(app, key=key, names=names, any_address=True)


def address(host: str, port: int, key: str) -> str:
    """Return the address to open in a browser, which carries the key."""
    from wsi_specdec.viewer.guard import KEY_PARAMETER

    name = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)  # noqa: S104
    name = f"[{name}]" if ":" in name else name
    return f"http://{name}:{port}/?{urlencode({KEY_PARAMETER: key})}"


def listen(host: str, port: int) -> socket.socket:
    """Listen on an address.

    Raises
    ------
    ConfigError
        If it is not free, or not of this machine.
    """
    try:
        family, kind, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # Where the protocol is not named, asyncio leaves Nagle's algorithm on, and answers wait
        # 40 ms for the reader's acknowledgement.
        listener = socket.socket(family, kind, socket.IPPROTO_TCP)
    except OSError as error:
        msg = f"{host} is no address to listen on ({error}); give another one with --host"
        raise ConfigError(msg) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen()
    except OSError as error:
        listener.close()
        msg = (
            f"cannot listen on {host}, port {port}: {error.strerror}; give another one with "
            "--port, 0 for any that is free"
        )
        raise ConfigError(msg) from error
    return listener
