"""The test images of a study, shifted: one set for each shift and strength."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import RobustnessConfig, Shift
from wsi_specdec.demo.scanner import CENTRES_FILE
from wsi_specdec.files import read_json
from wsi_specdec.keys import EXTERNAL, INTERNAL
from wsi_specdec.stain import StainProfile
from wsi_specdec.studies.robustness.shifts import STRENGTHS, shifted
from wsi_specdec.studies.sets.prepare import Change, derive_set, unchanged
from wsi_specdec.studies.spurious.marks import stain_shifted
from wsi_specdec.studies.stain_patches.sets import training_stains

Tiles = NDArray[np.uint8]
Rows = NDArray[np.int64]

N_STRENGTHS: Final = 5
_CENTRE: Final = "centre-"


@dataclass(frozen=True, slots=True)
class ShiftSet:
    """Test images, shifted.

    Attributes
    ----------
    shift
        Name of the shift; `centre-3` moves stains to those of centre 3.
    strength
        1 to 5.
    folder
        The set.
    """

    shift: str
    strength: int
    folder: Path

    @property
    def cohort(self) -> str:
        """What its images are called in results."""
        return f"{EXTERNAL}-{self.shift}-{self.strength}"


def shift_sets(config: RobustnessConfig, base: Path, out: Path) -> tuple[Path, list[ShiftSet]]:
    """Make the test images as they are and under every shift, or find them made.

    Parameters
    ----------
    base
        The set with all images, whose split `internal` is tested.
    out
        Folder of the study.

    Returns
    -------
    The clean set, and the shifted ones by shift and rising strength.

    Raises
    ------
    NotEnoughDataError
        If there are no test images, or the training images' stains cannot be fitted.
    """
    folder = out / "data"
    clean = derive_set(base, folder / INTERNAL, unchanged, splits=(INTERNAL,), params={})
    names = [*config.shifts, *(f"{_CENTRE}{centre}" for centre in config.centres)]
    own = training_stains(base, "leave the centres out, centres: []") if config.centres else None
    made = []
    for name in names:
        for strength in range(1, N_STRENGTHS + 1):
            change, params = _change(name, strength, own, config.data.seed)
            into = folder / "shifted" / f"{name}-{strength}"
            found = derive_set(base, into, change, splits=(INTERNAL,), params=params)
            made.append(ShiftSet(name, strength, found))
    return clean, made


def centre_stains(centre: int) -> StainProfile:
    """Return the stains that were measured on a centre of CAMELYON17."""
    measured = {each["centre"]: each["profile"] for each in read_json(CENTRES_FILE)["centres"]}
    return StainProfile.from_json(measured[centre])


def _change(
    name: str, strength: int, own: StainProfile | None, seed: int
) -> tuple[Change, dict[str, object]]:
    """Return what shifts images, and all that it does as JSON."""
    if own is not None and name.startswith(_CENTRE):
        target = centre_stains(int(name.removeprefix(_CENTRE)))
        amount = strength / N_STRENGTHS
        change = partial(_restained, source=own, target=target, amount=amount)
        stains = {"source": own.to_json(), "target": target.to_json()}
        return change, {"shift": name, "amount": amount, **stains}
    shift = cast("Shift", name)
    value = STRENGTHS[shift][strength - 1]
    return (
        partial(_shifted, shift=shift, strength=strength, seed=seed),
        {"shift": name, "value": value, "seed": seed if shift == "noise" else None},
    )


def _shifted(tiles: Tiles, rows: Rows, *, shift: Shift, strength: int, seed: int) -> Tiles:
    return shifted(tiles, shift, strength, rows, seed)


def _restained(
    tiles: Tiles, rows: Rows, *, source: StainProfile, target: StainProfile, amount: float
) -> Tiles:
    del rows
    return stain_shifted(tiles, source, target, amount)
