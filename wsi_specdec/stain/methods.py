"""The methods, one protocol: how each fits a profile, moves pixels, and merges references."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import StainConfig
from wsi_specdec.errors import NotEnoughDataError
from wsi_specdec.stain.density_kernel import mix_densities
from wsi_specdec.stain.lab_kernel import mix_roots
from wsi_specdec.stain.macenko import fit_macenko
from wsi_specdec.stain.merging import merge_statistics, merge_vectors
from wsi_specdec.stain.mixing import density_mixing
from wsi_specdec.stain.profile import StainProfile
from wsi_specdec.stain.reinhard import fit_reinhard, root_mixing
from wsi_specdec.stain.vahadane import fit_vahadane

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Method:
    """What a method of normalisation is.

    Attributes
    ----------
    fit
        Pixels (n, 3) and the settings to a profile; never fails.
    mixing
        A usable source and target to a matrix (3, 3) and an offset (3,).
    mix
        Writes pixels (n, 3) moved by those, in the space that is the method's.
    merge
        Usable profiles of several reference slides to one.
    """

    fit: Callable[[Pixels, StainConfig], StainProfile]
    mixing: Callable[[StainProfile, StainProfile], tuple[Floats, Floats]]
    mix: Callable[[Pixels, Pixels, Floats, Floats], None]
    merge: Callable[[Sequence[StainProfile]], StainProfile]


METHODS: Final[Mapping[str, Method]] = {
    "macenko": Method(fit_macenko, density_mixing, mix_densities, merge_vectors),
    "vahadane": Method(fit_vahadane, density_mixing, mix_densities, merge_vectors),
    "reinhard": Method(fit_reinhard, root_mixing, mix_roots, merge_statistics),
}


def method_of(name: str) -> Method:
    """Look a method up.

    Raises
    ------
    ValueError
        If there is none of that name; "none" is none.
    """
    if name not in METHODS:
        msg = f"no stain normalisation is called {name!r}; there are {', '.join(METHODS)}"
        raise ValueError(msg)
    return METHODS[name]


def fit_pixels(pixels: Pixels, config: StainConfig) -> StainProfile:
    """Fit a profile by the method of `config` to pixels sampled over one slide, or of one tile.

    Parameters
    ----------
    pixels
        RGB, shape (n, 3), uint8; n may be 0.
    config
        The method and its settings.

    Returns
    -------
    StainProfile
        With the status `too_little_tissue` or `degenerate` where no fit can be trusted.

    Raises
    ------
    ValueError
        If the method is "none".
    """
    return method_of(config.method).fit(pixels, config)


def merge_profiles(profiles: Sequence[StainProfile]) -> StainProfile:
    """Make one target from the usable profiles of several reference slides.

    Vectors are averaged weighing every slide alike and brought back to unit length; strengths, and
    Reinhard's means and deviations, are medians.

    Raises
    ------
    NotEnoughDataError
        If none of them is usable.
    ValueError
        If they are of different methods.
    """
    usable = [profile for profile in profiles if profile.status == "ok"]
    if not usable:
        msg = (
            f"none of {len(profiles)} reference slides has a usable stain profile "
            f"({', '.join(sorted({p.status for p in profiles})) or 'there are none'}); "
            "train without stain normalisation, or on slides with more tissue"
        )
        raise NotEnoughDataError(msg)
    if len(methods := {profile.method for profile in usable}) > 1:
        msg = f"stain profiles of different methods cannot be merged: {', '.join(sorted(methods))}"
        raise ValueError(msg)
    return method_of(usable[0].method).merge(usable)


def mixing(source: StainProfile, target: StainProfile) -> tuple[Floats, Floats]:
    """Return the matrix (3, 3) and offset (3,) by which pixels go from one profile to another.

    They take a column of optical densities (Macenko, Vahadane), or of CIE cube roots f(X), f(Y),
    f(Z) (Reinhard), to the target's.

    Raises
    ------
    ValueError
        If the profiles are of different methods, or not usable.
    """
    if source.method != target.method:
        msg = f"a {source.method} profile cannot be brought to a target of {target.method}"
        raise ValueError(msg)
    if unusable := [p.status for p in (source, target) if p.status != "ok"]:
        msg = f"a stain profile of status {unusable[0]!r} says nothing of how pixels move"
        raise ValueError(msg)
    return method_of(target.method).mixing(source, target)
