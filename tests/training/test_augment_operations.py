"""Each operation against an implementation that is trusted, or a closed form."""

import io

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy import ndimage, stats
from skimage.color import combine_stains, separate_stains
from torch import Tensor
from torchvision.transforms.v2 import functional as reference

from wsi_specdec.stain import standard_vectors
from wsi_specdec.training.augment import colour
from wsi_specdec.training.augment.focus import blur, sharpen
from wsi_specdec.training.augment.geometry import crop, turn
from wsi_specdec.training.augment.sensor import add_noise, compress
from wsi_specdec.training.augment.stain import restain

N = 6


def pixels_of(size: int = 13, low: float = 0.0, high: float = 1.0) -> Tensor:
    values = np.random.default_rng(0).uniform(low, high, (N, 3, size, size))
    return torch.from_numpy(values.astype(np.float32))


def each(change: object, pixels: Tensor, values: NDArray[np.float64]) -> Tensor:
    """Apply torchvision's operation tile by tile."""
    assert callable(change)
    changed = [change(p, float(v)) for p, v in zip(pixels, values, strict=True)]
    return torch.stack(changed)


def close(found: Tensor, expected: Tensor | NDArray[np.floating], atol: float = 2e-6) -> None:
    wanted = torch.as_tensor(expected, dtype=found.dtype)
    torch.testing.assert_close(found, wanted, rtol=0, atol=atol)


def stain_vectors() -> NDArray[np.float64]:
    """Unit vectors of haematoxylin, eosin and what is neither: (3, 3)."""
    haematoxylin, eosin = standard_vectors()
    neither = np.cross(haematoxylin, eosin)
    return np.stack([haematoxylin, eosin, neither / np.linalg.norm(neither)])


def test_turning_gives_the_eight_symmetries_of_the_square() -> None:
    tile = np.random.default_rng(0).integers(0, 256, (5, 5, 3), np.uint8)
    turned = turn(torch.from_numpy(np.stack([tile] * 8)), np.arange(8)).numpy()
    quarter_turns = [np.rot90(tile, k) for k in range(4)]
    expected = quarter_turns + [one[::-1] for one in quarter_turns]
    assert {one.tobytes() for one in turned} == {one.tobytes() for one in expected}


def test_each_tile_is_turned_by_its_own_number() -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), np.uint8)
    turned = turn(torch.from_numpy(tiles), np.array([4, 1, 0, 2, 1, 7])).numpy()
    a, b, c, d, e, f = tiles
    expected = [a.transpose(1, 0, 2), b[::-1], c, d[:, ::-1], e[::-1]]
    expected.append(f[::-1, ::-1].transpose(1, 0, 2))
    assert np.array_equal(turned, np.stack(expected))


def test_cropping_is_bilinear_about_a_moved_centre() -> None:
    size = 12
    pixels = pixels_of(size)
    zoom, shift = np.linspace(0.7, 1.6, N), np.random.default_rng(1).uniform(-0.2, 0.2, (N, 2))
    found = crop(pixels, zoom, shift)
    at = (np.arange(size) - (size - 1) / 2)[None] / zoom[:, None] + (size - 1) / 2
    for tile, out, centre, (x, y) in zip(pixels.numpy(), found, at, shift * size, strict=True):
        grid = np.meshgrid(centre + y, centre + x, indexing="ij")
        expected = [
            ndimage.map_coordinates(channel, grid, order=1, mode="reflect") for channel in tile
        ]
        close(out, np.stack(expected), atol=2e-5)


def test_light_is_scaled_about_the_mean_of_luma_then_all() -> None:
    factor = np.linspace(0.5, 1.5, N)
    one = np.ones(N)
    close(
        colour.relight(pixels_of(), factor, one),
        each(reference.adjust_contrast, pixels_of(), factor),
        atol=2e-4,
    )
    bright = each(reference.adjust_brightness, pixels_of(), factor)
    close(colour.relight(pixels_of(), one, factor), bright)
    close(colour.brighten(pixels_of(), factor), bright)
    # Where nothing is clipped, one after the other.
    middle = pixels_of(low=0.4, high=0.6)
    expected = each(reference.adjust_contrast, middle, factor)
    expected = each(reference.adjust_brightness, expected, factor[::-1])
    close(colour.relight(middle, factor, factor[::-1].copy()), expected, atol=2e-4)


def test_saturation_and_gamma_are_those_of_torchvision() -> None:
    factor = np.array([0.0, 0.4, 0.9, 1.0, 1.3, 2.0])
    expected = each(reference.adjust_saturation, pixels_of(), factor)
    close(colour.saturate(pixels_of(), factor), expected, atol=3e-4)
    powers = factor + 0.1
    close(colour.gamma(pixels_of(), powers), each(reference.adjust_gamma, pixels_of(), powers))


def test_the_hue_turns_as_torchvisions() -> None:
    turns = np.array([-0.5, -0.2, 0.0, 0.1, 1 / 3, 0.5])
    pixels = pixels_of()
    pixels[:, :, 0, :3] = torch.tensor([0.0, 0.5, 1.0])
    expected = each(reference.adjust_hue, pixels, turns)
    close(colour.turn_hue(pixels.clone(), turns), expected, atol=1e-5)
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    close(colour.turn_hue(red, np.array([1 / 3])).flatten(), np.array([0.0, 1.0, 0.0]))


def test_values_are_mapped_as_pillow_does() -> None:
    levels = torch.arange(256, dtype=torch.float32).div(255).view(1, 1, 16, 16).repeat(1, 3, 1, 1)
    image = Image.fromarray((levels[0] * 255).round().byte().permute(1, 2, 0).numpy())
    for bits in (1, 3, 8):
        expected = np.asarray(ImageOps.posterize(image, bits)).transpose(2, 0, 1) / 255
        close(colour.posterize(levels.clone(), np.array([float(bits)]))[0], expected)
    expected = np.asarray(ImageOps.solarize(image, 100)).transpose(2, 0, 1) / 255
    close(colour.solarize(levels.clone(), np.array([100 / 255]))[0], expected)


def test_channels_are_stretched_scaled_and_toned() -> None:
    pixels = pixels_of(low=0.3, high=0.6)
    pixels[0, 1] = 0.25
    found = colour.stretch(pixels.clone())
    close(found, reference.autocontrast(pixels), atol=1e-5)
    close(found[0, 1], pixels[0, 1])
    factor = np.linspace(0, 2, N)
    scaled = colour.scale_channel(pixels.clone(), factor, 1)
    close(scaled[:, [0, 2]], pixels[:, [0, 2]])
    close(scaled[:, 1], (pixels[:, 1] * torch.from_numpy(factor)[:, None, None]).clamp(0, 1))
    # Of heights 1/3 and 2/3 the curve is a straight line.
    close(colour.tone(pixels.clone(), np.full(N, 1 / 3), np.full(N, 2 / 3)), pixels)
    half = torch.full((1, 3, 1, 1), 0.5)
    close(colour.tone(half, np.ones(1), np.zeros(1)).flatten(), np.full(3, 0.5))


def test_blur_is_scipys_gaussian_and_none_at_zero() -> None:
    pixels = pixels_of(11)
    sigma = np.array([0.0, 0.3, 0.7, 1.0, 2.0, 3.9])
    found = blur(pixels, sigma)
    for tile, out, width in zip(pixels.numpy(), found, sigma, strict=True):
        expected = ndimage.gaussian_filter(
            tile.astype(np.float64), (0, width, width), mode="mirror", truncate=3.0
        )
        close(out, expected)
    close(found[0], pixels[0], atol=0)
    flat = torch.full((1, 3, 4, 4), 0.7)
    close(blur(flat, np.array([8.0])), flat)


def test_sharpening_gives_back_more_than_blur_takes() -> None:
    pixels = pixels_of(low=0.4, high=0.6)
    amount = np.linspace(0, 2, N)
    taken = pixels - blur(pixels, np.full(N, 0.8))
    expected = pixels + torch.from_numpy(amount).float().view(-1, 1, 1, 1) * taken
    close(sharpen(pixels.clone(), amount, 0.8), expected.clamp(0, 1))
    contrast = sharpen(pixels, amount, 0.8).var(dim=(1, 2, 3)) / pixels.var(dim=(1, 2, 3))
    assert bool((contrast.diff() > 0).all())


def test_stains_are_separated_and_mixed_as_skimage_does() -> None:
    pixels = pixels_of(low=0.25, high=0.85)
    rng = np.random.default_rng(2)
    alpha, beta = rng.uniform(0.8, 1.2, (N, 2)), rng.uniform(-0.05, 0.05, (N, 2))
    vectors = stain_vectors()
    # skimage counts density in units of ln(10^6), and clips negative concentrations.
    unit = -np.log(1e-6)
    stained = restain(pixels.clone(), alpha, beta)
    for tile, out, a, b in zip(pixels.numpy(), stained, alpha, beta, strict=True):
        density = -np.log(tile.transpose(1, 2, 0).astype(np.float64))
        amounts = density @ np.linalg.inv(vectors)
        separated = separate_stains(tile.transpose(1, 2, 0), np.linalg.inv(vectors)) * unit
        np.testing.assert_allclose(separated, np.maximum(amounts, 0), atol=1e-5)
        amounts[..., :2] = amounts[..., :2] * a + b
        expected = np.exp(-amounts @ vectors)
        if amounts.min() >= 0:
            np.testing.assert_allclose(combine_stains(amounts / unit, vectors), expected.clip(0, 1))
        close(out, expected.clip(0, 1).transpose(2, 0, 1), atol=1e-5)


def test_a_pixel_of_one_stain_gets_alpha_times_its_density() -> None:
    for stain in (0, 1):
        vector = stain_vectors()[stain]
        pixels = torch.from_numpy(np.exp(-0.8 * vector)).float().view(1, 3, 1, 1)
        alpha = np.array([[1.0, 1.0]])
        alpha[0, 1 - stain] = 1.9
        close(restain(pixels.clone(), alpha, np.zeros((1, 2))), pixels)
        alpha = np.array([[1.0, 1.0]])
        alpha[0, stain] = 1.5
        close(restain(pixels, alpha, np.zeros((1, 2))).flatten(), np.exp(-1.2 * vector))


def test_glass_stays_white_whatever_alpha() -> None:
    white = torch.ones(1, 3, 2, 2)
    close(restain(white.clone(), np.array([[1.5, 0.2]]), np.zeros((1, 2))), white)


def test_noise_is_normal_independent_and_as_strong_as_asked() -> None:
    grey = torch.full((3, 3, 100, 100), 0.5)
    seeds = np.array([[0.137, 0.2371], [0.137, 0.6613], [0.7951, 0.2371]])
    out = add_noise(grey.clone(), np.array([0.02, 0.02, 0.05]), seeds).numpy() - 0.5
    assert out.std(axis=(1, 2, 3)) == pytest.approx([0.02, 0.02, 0.05], rel=0.02)
    assert abs(out.mean(axis=(1, 2, 3)) / [0.02, 0.02, 0.05]).max() < 4 / 30000**0.5
    flat = out.reshape(9, -1)
    assert abs(np.corrcoef(flat) - np.eye(9)).max() < 0.04
    beside = [np.corrcoef(tile[:-step], tile[step:])[0, 1] for tile in flat for step in (1, 2, 100)]
    assert np.abs(beside).max() < 0.05
    assert stats.kstest(flat[0] / 0.02, "norm").pvalue > 1e-3


def test_compression_is_that_of_an_encoder_and_loses_more_at_lower_quality() -> None:
    y, x = np.mgrid[:32, :32] / 32
    tile = np.stack([200 - 90 * x, 120 + 60 * y, 160 + 40 * np.sin(9 * x)], -1).astype(np.uint8)
    pixels = torch.from_numpy(np.stack([tile] * 3)).permute(0, 3, 1, 2).float() / 255
    out = compress(pixels.clone(), np.array([5.0, 40.0, 95.0]))
    for quality, found in zip((5, 40, 95), out, strict=True):
        file = io.BytesIO()
        Image.fromarray(tile).save(file, "JPEG", quality=quality, subsampling="4:2:0")
        expected = np.asarray(Image.open(file)).transpose(2, 0, 1) / 255
        assert (found - torch.from_numpy(expected)).abs().mean().item() < 1.5 / 255
    lost = (out - pixels).abs().mean(dim=(1, 2, 3))
    assert bool((lost.diff() < 0).all())
