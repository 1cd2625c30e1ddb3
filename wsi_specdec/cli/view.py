"""`view`: slides and scores in the browser."""

from pathlib import Path
from typing import Annotated

import typer

from wsi_specdec.cli.options import Quiet, given, set_output, shown
from wsi_specdec.config import ViewConfig, make_config


def view(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="A run directory, or a folder of slides.",
            exists=True,
            file_okay=False,
        ),
    ],
    port: Annotated[
        int | None,
        typer.Option(
            help="Port to listen on; 0 takes a free one.", show_default=shown(ViewConfig, "port")
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            help="Address to listen on; all but the default let other machines see the slides.",
            show_default=shown(ViewConfig, "host"),
        ),
    ] = None,
    *,
    browser: Annotated[bool, typer.Option("--browser", help="Open a browser.")] = False,
    quiet: Quiet = False,
) -> None:
    """Look at slides in the browser, with tile scores laid over them; Ctrl-C ends it.

    Only this machine can reach it, with the address that is printed. From another machine, forward
    the port: ssh -L 8764:localhost:8764 MACHINE.

    Example: wsi-specdec view demo
    """
    from wsi_specdec.viewer import is_loopback, serve

    set_output(quiet=quiet)
    config = make_config(ViewConfig, given({"port": port, "host": host}), "settings")
    if not is_loopback(config.host):
        _warn(config.host)

    def announce(address: str) -> None:
        typer.echo(address)
        if browser:
            typer.launch(address)

    serve(folder, config, announce)


def _warn(host: str) -> None:
    lines = (
        f"WARNING: on {host} the slides can be reached from OTHER MACHINES, unencrypted.",
        "Whoever reads the network's traffic sees them, and the key in the address. If they are",
        "patients' slides, leave --host out, and forward the port with ssh instead.",
    )
    for line in lines:
        typer.secho(line, fg="red", bold=True, err=True)
