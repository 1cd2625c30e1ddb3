"""`doctor`: whether this installation works."""

import typer

from wsi_specdec.cli.options import SOME_FAILED, Json, print_json


def doctor(*, json: Json = False) -> None:
    """Show versions, readers, codecs and GPU, and tile a tiny slide as a self-test.

    Example: wsi-specdec doctor
    """
    from wsi_specdec.doctor import examine

    findings = examine()
    if json:
        print_json([{"check": f.check, "ok": f.ok, "found": f.found} for f in findings])
    else:
        for finding in findings:
            mark = typer.style("ok  ", fg="green") if finding.ok else typer.style("FAIL", fg="red")
            typer.echo(f"{mark} {finding.check:<18} {finding.found}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(SOME_FAILED)
