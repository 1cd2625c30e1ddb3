import numpy as np
import torch
from numpy.typing import NDArray

from wsi_specdec.config import TrainConfig
from wsi_specdec.training.augment import augment, jitter, turn

PLAIN = TrainConfig(flips=False, jitter=0.0)


def _tiles(n: int = 6, size: int = 5) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), np.uint8)


def test_turning_gives_the_eight_symmetries_of_the_square() -> None:
    tile = _tiles(1)[0]
    turned = turn(torch.from_numpy(np.stack([tile] * 8)), np.arange(8)).numpy()
    quarter_turns = [np.rot90(tile, k) for k in range(4)]
    expected = quarter_turns + [one[::-1] for one in quarter_turns]
    assert {one.tobytes() for one in turned} == {one.tobytes() for one in expected}
    assert np.array_equal(turned[0], tile)


def test_each_tile_is_turned_by_its_own_number() -> None:
    tiles = _tiles(3)
    turned = turn(torch.from_numpy(tiles), np.array([0, 1, 4])).numpy()
    expected = [tiles[0], tiles[1][::-1], tiles[2].transpose(1, 0, 2)]
    assert np.array_equal(turned, np.stack(expected))


def test_without_any_augmentation_pixels_are_fractions() -> None:
    tiles = _tiles()
    pixels = augment(torch.from_numpy(tiles), PLAIN, np.random.default_rng(0))
    expected = tiles.transpose(0, 3, 1, 2).astype(np.float32) / 255
    np.testing.assert_allclose(pixels.numpy(), expected, rtol=1e-6)


def test_jitter_scales_about_the_mean_then_all_and_clips() -> None:
    pixels = torch.from_numpy(_tiles(2).transpose(0, 3, 1, 2).astype(np.float32) / 255)
    before = pixels.clone().numpy().astype(np.float64)
    out = jitter(pixels, np.array([1.2, 0.5]), np.array([0.9, 1.4])).numpy()
    mean = before.mean(axis=(1, 2, 3), keepdims=True)
    contrast, brightness = (np.array(f)[:, None, None, None] for f in ([1.2, 0.5], [0.9, 1.4]))
    expected = np.clip(((before - mean) * contrast + mean) * brightness, 0, 1)
    np.testing.assert_allclose(out, expected, atol=1e-6)


def test_jitter_stays_within_its_setting_and_differs_by_tile() -> None:
    tiles = np.full((500, 4, 4, 3), 100, np.uint8)
    config = TrainConfig(flips=False, jitter=0.1)
    pixels = augment(torch.from_numpy(tiles), config, np.random.default_rng(0))
    gain = pixels[:, 0, 0, 0].numpy() / (100 / 255)
    assert 0.9 <= gain.min() < 0.91
    assert 1.09 < gain.max() <= 1.1001


def test_augmentation_is_repeated_by_its_generator() -> None:
    tiles = torch.from_numpy(_tiles())
    first, again, other = (
        augment(tiles, TrainConfig(), np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.is_contiguous(memory_format=torch.channels_last)
