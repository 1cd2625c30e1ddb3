import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from numpy.typing import NDArray
from torch import Tensor

from wsi_specdec.config import AugmentConfig, TrainConfig, make_config, override
from wsi_specdec.config.augment import StrongAugment
from wsi_specdec.errors import ConfigError
from wsi_specdec.training.augment import augment, preview_augmentations
from wsi_specdec.training.augment.draws import Stream
from wsi_specdec.training.augment.preview import described
from wsi_specdec.training.augment.strong import OPERATIONS, _operations
from wsi_specdec.training.seeds import sample_keys, uniforms

# Odd, so that no loop over pixels comes out even.
SIZE = 17
NONE: dict[str, Any] = {"flips": False, "colour": {"probability": 0}}
EACH: dict[str, dict[str, Any]] = {
    "flips": {"flips": True},
    "crop": {"crop": {"probability": 0.6}},
    "stain": {"stain": {"probability": 0.6}},
    "colour": {"colour": {"probability": 0.6, "saturation": 0.3, "hue": 0.2}},
    "light": {"colour": {"probability": 1}},
    "blur": {"blur": {"probability": 0.6}},
    "sharpen": {"sharpen": {"probability": 0.6}},
    "noise": {"noise": {"probability": 0.6}},
    "jpeg": {"jpeg": {"probability": 0.6}},
    "strong": {"strong": {"probability": 0.9}},
    "strong-stain": {
        "strong": {
            "probability": 1,
            "operations": (1,),
            "chances": (1.0,),
            "ranges": {"haematoxylin": (0, 2), "eosin": (0, 2)},
        }
    },
}
EACH["all"] = {
    name: value for changes in list(EACH.values())[:10] for name, value in changes.items()
}


def config(**changes: Any) -> TrainConfig:  # noqa: ANN401 - settings of any type
    return make_config(TrainConfig, {"augment": NONE | changes}, "test")


def keys_of(n: int, epoch: int = 0) -> Tensor:
    return sample_keys(np.arange(n), seed=0, epoch=epoch)


def tiles_of(n: int, size: int = SIZE) -> NDArray[np.uint8]:
    """Smooth tiles in pink and purple with some noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] / size
    wave = np.sin(6 * x + rng.uniform(0, 6, (n, 1, 1))) * np.cos(5 * y)
    tiles = np.array([190, 120, 170]) + wave[..., None] * [30, 60, 20]
    noisy: NDArray[np.uint8] = np.clip(tiles + rng.normal(0, 8, tiles.shape), 0, 255).astype(
        np.uint8
    )
    return noisy


def test_without_any_augmentation_pixels_are_fractions() -> None:
    tiles = tiles_of(3)
    pixels = augment(torch.from_numpy(tiles), config(), keys_of(3))
    assert np.array_equal(pixels.numpy(), tiles.transpose(0, 3, 1, 2).astype(np.float32) / 255)


@pytest.mark.parametrize("changes", EACH.values(), ids=EACH)
def test_a_tile_depends_on_its_key_alone_and_stays_in_bounds(changes: dict[str, Any]) -> None:
    settings, n = config(**changes), 40
    tiles, keys = torch.from_numpy(tiles_of(n)), keys_of(n)
    tiles[3], tiles[4] = 0, 255
    kept = tiles.clone()
    whole = augment(tiles, settings, keys)
    assert torch.equal(tiles, kept)
    assert whole.dtype == torch.float32
    assert whole.shape == (n, 3, SIZE, SIZE)
    assert whole.is_contiguous(memory_format=torch.channels_last)
    assert bool(((whole >= 0) & (whole <= 1)).all())
    for rows in (np.arange(7), np.arange(7, n), np.array([12]), np.arange(n)[::-1].copy()):
        part = augment(tiles[rows], settings, keys[rows])
        torch.testing.assert_close(part, whole[rows], rtol=0, atol=1e-6)
    again = augment(tiles, settings, keys)
    assert torch.equal(again, whole)
    assert not torch.equal(augment(tiles, settings, keys_of(n, epoch=1)), whole)


@pytest.mark.parametrize(
    "weakest",
    [
        {"crop": {"probability": 1, "zoom": (1, 1), "shift": 0}},
        {"stain": {"probability": 1, "alpha": 0, "beta": 0}},
        {"colour": {"brightness": 0, "contrast": 0}},
        {"blur": {"probability": 1, "sigma": (0, 0)}},
        {"sharpen": {"probability": 1, "amount": (0, 0)}},
        {"noise": {"probability": 1, "std": (0, 0)}},
        {"colour": {"saturation": 1e-9, "hue": 1e-9, "brightness": 0, "contrast": 0}},
    ],
    ids=lambda weakest: next(iter(weakest)),
)
def test_the_strength_of_zero_changes_nothing(weakest: dict[str, Any]) -> None:
    tiles = torch.from_numpy(tiles_of(5))
    plain = augment(tiles, config(), keys_of(5))
    torch.testing.assert_close(
        augment(tiles, config(**weakest), keys_of(5)), plain, atol=2e-5, rtol=0
    )


def test_a_probability_is_the_share_of_tiles_that_change() -> None:
    n = 4000
    tiles = torch.full((n, 4, 4, 3), 100, dtype=torch.uint8)
    pixels = augment(tiles, config(noise={"probability": 0.3, "std": (0.1, 0.1)}), keys_of(n))
    changed = pixels.flatten(1).std(dim=1) > 0
    assert changed.float().mean().item() == pytest.approx(0.3, abs=0.03)


def test_each_tile_is_turned_by_one_of_eight_symmetries_as_likely() -> None:
    n = 4000
    tile = tiles_of(1, 5)
    turned = augment(torch.from_numpy(np.repeat(tile, n, 0)), config(flips=True), keys_of(n))
    _, counts = np.unique(turned.flatten(1).numpy(), axis=0, return_counts=True)
    assert len(counts) == 8
    assert abs(counts - n / 8).max() < 4 * (n / 8) ** 0.5


def test_the_default_is_flips_and_a_tenth_of_brightness_and_contrast() -> None:
    assert described(TrainConfig().augment) == "flips · colour 100%"
    pixels = augment(
        torch.full((500, 4, 4, 3), 100, dtype=torch.uint8), TrainConfig(), keys_of(500)
    )
    gain = pixels[:, 0, 0, 0].numpy() / (100 / 255)
    assert 0.9 <= gain.min() < 0.91
    assert 1.09 < gain.max() <= 1.1001


def test_adding_an_augmentation_leaves_the_numbers_of_the_others() -> None:
    tiles, keys = torch.from_numpy(tiles_of(6)), keys_of(6)
    one = augment(tiles, config(flips=True), keys)
    both = augment(tiles, config(flips=True, noise={"probability": 1, "std": (0.01, 0.01)}), keys)
    assert (one - both).abs().max().item() < 0.06


def test_strong_draws_as_many_operations_as_it_says_each_once() -> None:
    plan, n = StrongAugment(probability=1), 6000
    numbers = uniforms(keys_of(n), Stream.STRONG, 2 + len(plan.pool()))
    turns = _operations(numbers[:, 1], numbers[:, 2:], plan)
    counts = (turns >= 0).sum(axis=1)
    share = [float((counts == count).mean()) for count in (2, 3, 4)]
    assert share == pytest.approx([0.5, 0.3, 0.2], abs=0.03)
    assert all(len(set(row)) == len(row) for row in (r[r >= 0] for r in turns[:200]))
    drawn = np.bincount(turns[turns >= 0], minlength=len(plan.pool()))
    mean = drawn.sum() / len(drawn)
    assert abs(drawn - mean).max() < 5 * mean**0.5


def test_strong_applies_what_it_drew() -> None:
    grey = config(
        strong={
            "probability": 1,
            "operations": (2,),
            "chances": (1.0,),
            "ranges": {"grayscale": (1, 1), "solarize": (0, 0), "hue": None},
        }
    )
    tiles = tiles_of(4)
    out = augment(torch.from_numpy(tiles), grey, keys_of(4)).numpy()
    luma = (tiles / 255) @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(out, np.repeat(1 - luma[:, None], 3, 1), atol=1e-5)


def test_strong_applies_nothing_else() -> None:
    off = {"red": (0, 0), "green": (0, 0), "blue": (0, 0)}
    for count in (1, 2):
        settings = config(
            strong={"probability": 1, "operations": (count,), "chances": (1.0,), "ranges": off}
        )
        tiles = torch.full((300, 4, 4, 3), 200, dtype=torch.uint8)
        out = augment(tiles, settings, keys_of(300))
        gone = (out == 0).all(dim=3).all(dim=2)
        assert bool((gone.sum(dim=1) == count).all())
        assert bool((gone.sum(dim=0) > 60).all())
        assert torch.equal(out.amax(dim=(2, 3))[~gone], torch.full((300 * (3 - count),), 200 / 255))


def test_every_operation_is_there_and_documented() -> None:
    assert set(StrongAugment().ranges) | {"haematoxylin", "eosin"} == set(OPERATIONS)
    page = (Path(__file__).parents[2] / "docs" / "augmentation.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|$", page, flags=re.MULTILINE)
    settings, operations = (
        rows[: len(AugmentConfig.model_fields)],
        rows[len(AugmentConfig.model_fields) :],
    )
    assert [name for name, *_ in settings] == list(AugmentConfig.model_fields)
    ranges = {name: shown for name, shown, _ in operations[: len(OPERATIONS)]}
    assert list(ranges) == list(OPERATIONS)
    for name, bounds in StrongAugment().ranges.items():
        assert bounds is not None
        assert ranges[name] == as_shown(bounds)
    defaults = AugmentConfig().model_dump()
    for name, _, values in settings[1:-1]:
        for setting, value in defaults[name].items():
            shown = value if isinstance(value, str) else as_shown(value)
            assert re.search(rf"`{setting}` ±?{shown}\b", values), (name, setting)


def as_shown(value: float | tuple[float, ...]) -> str:
    bounds = value if isinstance(value, tuple) else (value,)
    return " to ".join(f"{bound:g}".replace("-", "−") for bound in dict.fromkeys(bounds))


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("augment.blur.sigma=[2, 1]", "lower number to the higher"),
        ("augment.blur.sigma=[0, 99]", "less than or equal to 8"),
        ("augment.noise.probability=2", "less than or equal to 1"),
        ("augment.strong.operations=[9]", "one number for each"),
        ("augment.strong.ranges={hue: [0, 0.1]}", "4 operations cannot be drawn from 1"),
        ("augment.strong.ranges.hue=[0, 2]", "range of hue must lie in -0.5 to 0.5"),
        ("augment.strong.ranges.red=[-1, 2]", "range of red must lie in 0.0"),
        ("augment.strong.ranges.warp=[0, 2]", "warp"),
        ("augment.jpeg.quality=[0, 50]", "greater than or equal to 1"),
    ],
)
def test_settings_out_of_range_are_refused(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        override(TrainConfig(), [assignment])


def test_settings_are_set_by_one_assignment_each() -> None:
    changed = override(TrainConfig(), ["augment.stain.probability=0.5", "augment.flips=false"])
    assert changed.augment == AugmentConfig(
        flips=False, stain=changed.augment.stain.model_copy(update={"probability": 0.5})
    )


def test_the_preview_shows_tiles_and_draws_of_them(tmp_path: Path) -> None:
    path = tmp_path / "model" / "augmentations.png"
    preview_augmentations(tiles_of(2), TrainConfig(), path, draws=3)
    picture = imread(path)
    assert picture.shape[1] / picture.shape[0] == pytest.approx(4 * 1.2 / (2 * 1.2 + 0.5), rel=0.05)
    assert [p.name for p in path.parent.iterdir()] == ["augmentations.png"]
    plan = config(noise={"probability": 0.25}).augment
    assert described(plan) == "noise 25%"
    assert described(config().augment) == "no augmentation"
