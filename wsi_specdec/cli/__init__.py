"""The command line: one file per verb, heavy imports only inside the verb."""

from wsi_specdec.cli.app import main

__all__ = ["main"]
