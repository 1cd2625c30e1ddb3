"""Macenko's and Reinhard's methods agree with torchstain's, an independent implementation."""

import warnings
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_specdec.config import StainConfig
from wsi_specdec.stain import fit_pixels, lab, normalise, normalise_each

Image = NDArray[np.uint8]
# It has no types.
torchstain: Any = import_module("torchstain")
# As torchstain counts: every channel must absorb, and strengths are of all pixels.
AS_TORCHSTAIN = StainConfig(method="macenko", min_od_of="every_channel", strengths_of="all")


def their_fit(image: Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Stain vectors (2, 3) and strengths (2,)."""
    theirs = torchstain.normalizers.MacenkoNormalizer(backend="numpy")
    theirs.fit(image)
    return np.asarray(theirs.HERef).T, np.asarray(theirs.maxCRef)


def test_profiles_are_torchstains(tissue_tiles: Image) -> None:
    assert len(tissue_tiles) >= 8
    for tile in tissue_tiles:
        ours = fit_pixels(tile.reshape(-1, 3), AS_TORCHSTAIN)
        vectors, strengths = their_fit(tile)
        cosines = np.clip((ours.matrix() * vectors).sum(axis=1), -1, 1)
        assert np.degrees(np.arccos(cosines)).max() < 0.1
        assert ours.max_concentrations == pytest.approx(strengths, rel=0.005)


def test_normalised_tiles_are_torchstains(tissue_tiles: Image) -> None:
    reference, *tiles = tissue_tiles
    theirs = torchstain.normalizers.MacenkoNormalizer(backend="numpy")
    theirs.fit(reference)
    target = fit_pixels(reference.reshape(-1, 3), AS_TORCHSTAIN)
    ours = normalise_each(np.stack(tiles), target, AS_TORCHSTAIN)[0].astype(np.int64)
    expected = np.stack([theirs.normalize(tile, stains=False)[0] for tile in tiles])
    # It leaves out to subtract the 1 that it added, and cuts off what should be rounded.
    apart = expected.astype(np.int64) - ours
    assert np.median(apart) in {0, 1}
    assert (np.abs(apart) <= 2).mean() > 0.999


def test_torchstain_fails_on_glass_that_is_left_as_it_was(tissue_tiles: Image) -> None:
    glass = np.full((256, 256, 3), 238, np.uint8)
    glass[:2, :2] = 120
    theirs = torchstain.normalizers.MacenkoNormalizer(backend="numpy")
    theirs.fit(tissue_tiles[0])
    warnings.simplefilter("ignore")  # Which pytest undoes.
    with pytest.raises(np.linalg.LinAlgError):
        theirs.normalize(np.full((256, 256, 3), 238, np.uint8), stains=False)
    target = fit_pixels(tissue_tiles[0].reshape(-1, 3), AS_TORCHSTAIN)
    assert np.array_equal(normalise_each(glass[None], target, AS_TORCHSTAIN)[0][0], glass)


def test_reinhards_tiles_are_torchstains(tissue_tiles: Image) -> None:
    reference, tile = tissue_tiles[:2]
    theirs = torchstain.normalizers.ReinhardNormalizer(backend="numpy")
    # All of its pixels count, glass too.
    everything = StainConfig(method="reinhard", min_od=1e-3)
    opaque = [np.minimum(image, 238) for image in (reference, tile)]
    theirs.fit(opaque[0])
    expected = theirs.normalize(opaque[1]).astype(np.int64)
    source, target = (fit_pixels(image.reshape(-1, 3), everything) for image in opaque[::-1])
    ours = normalise(opaque[1], source, target).astype(np.int64)
    assert (np.abs(ours - expected) <= 2).mean() > 0.999
    assert source.lab_means == pytest.approx(lab.rgb_to_lab(opaque[1]).mean(axis=(0, 1)), abs=0.05)
