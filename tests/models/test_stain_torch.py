"""Torch moves batches as the tables of the CPU do."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from wsi_specdec.config import StainConfig
from wsi_specdec.demo.packed import load_patches
from wsi_specdec.models.stain_torch import BatchNormaliser
from wsi_specdec.stain import fit_pixels, normalise

CPU = torch.device("cpu")


@pytest.mark.parametrize("method", ["macenko", "vahadane", "reinhard"])
@pytest.mark.parametrize(
    "kind",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
            ],
        ),
    ],
)
def test_a_batch_of_several_slides_agrees_within_one_grey_level(method: str, kind: str) -> None:
    device = torch.device(kind)
    config = StainConfig.model_validate({"method": method})
    patches = load_patches().tiles[::9][:150]
    slides = np.array_split(patches, 3)
    sources = [fit_pixels(tiles.reshape(-1, 3), config) for tiles in slides]
    unusable = fit_pixels(np.full((900, 3), 240, np.uint8), config)
    target = sources[2]
    order = np.random.default_rng(0).permutation(len(patches))
    index = np.repeat([0, 1, 2], [len(tiles) for tiles in slides])[order]
    index[:4] = 3
    tiles: NDArray[np.uint8] = patches[order]
    normaliser = BatchNormaliser.of([*sources, unusable], target, device)
    moved = normaliser(torch.from_numpy(tiles).to(device), torch.from_numpy(index).to(device))
    out = moved.cpu().numpy()
    assert out.dtype == np.uint8
    expected = np.stack(
        [
            normalise(tile, [*sources, unusable][number], target)
            for tile, number in zip(tiles, index, strict=True)
        ]
    )
    assert np.array_equal(out[:4], tiles[:4])
    apart = np.abs(out.astype(int) - expected)
    assert (apart <= 1).mean() >= 0.999
    assert apart.mean() < 0.1


def test_an_unusable_target_changes_nothing() -> None:
    config = StainConfig(method="macenko")
    tiles = load_patches().tiles[:200].copy()
    source = fit_pixels(tiles.reshape(-1, 3), config)
    unusable = fit_pixels(np.full((900, 3), 240, np.uint8), config)
    normaliser = BatchNormaliser.of([source], unusable, CPU)
    out = normaliser(torch.from_numpy(tiles), torch.zeros(len(tiles), dtype=torch.int64))
    assert np.array_equal(out.numpy(), tiles)
