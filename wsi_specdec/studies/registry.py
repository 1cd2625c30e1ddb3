"""Runs a study by its kind: the package of that name."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from wsi_specdec.config import AnyStudy, differences, dump_config, load_any
from wsi_specdec.errors import ConfigError, SettingsMismatchError
from wsi_specdec.files import write_text
from wsi_specdec.keys import CONFIG_FILE
from wsi_specdec.studies.pool import worker_count

# They may change between two runs into one folder: what was made stays as it is.
_FREE_SETTINGS: Final = {"out", "workers", "seeds", "evaluate", "title", "full"}


def run_study(config: AnyStudy, *, overwrite: bool = False) -> Path:
    """Run a study into its folder; called again, go on where it stopped.

    Parameters
    ----------
    config
        With `out`.
    overwrite
        Take a folder that was made with other settings; what differs is made anew.

    Returns
    -------
    Path
        The page of figures, `page.md`.

    Raises
    ------
    ConfigError
        If `out` is missing.
    SettingsMismatchError
        If `out` was made with other settings and `overwrite` is not set.
    """
    if config.out is None:
        msg = "the setting 'out' is missing: give it in the file or by --out"
        raise ConfigError(msg)
    out = config.out
    _claim(config, out, overwrite=overwrite)
    # Each has a function `run(config, out, workers) -> Path`, which returns the page it wrote.
    module = import_module(f"wsi_specdec.studies.{config.kind}.study")
    run: Callable[[Any, Path, int], Path] = module.run
    return run(config, out, worker_count(config.workers))


def _claim(config: AnyStudy, out: Path, *, overwrite: bool) -> None:
    """Write the settings into `out`, refusing a folder of other ones."""
    path = out / CONFIG_FILE
    if path.is_file() and not overwrite:
        former = load_any(path).model_dump(mode="json", exclude=_FREE_SETTINGS)
        asked = config.model_dump(mode="json", exclude=_FREE_SETTINGS)
        if differing := differences(former, asked):
            msg = (
                f"{out} was made with other settings: {'; '.join(differing)}. Choose another "
                "--out, or --overwrite to redo what differs"
            )
            raise SettingsMismatchError(msg)
    out.mkdir(parents=True, exist_ok=True)
    write_text(path, dump_config(config))
