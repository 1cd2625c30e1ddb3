from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from stained_images import OTHER_EOSIN, stained, target_by, write_tiles

from wsi_specdec.config import StainConfig
from wsi_specdec.errors import ConfigError, ModelError, NotEnoughDataError
from wsi_specdec.models import (
    ModelSpec,
    count_statuses,
    stain_normaliser,
    stain_target,
    stains_in_tiles,
    stream_normaliser,
)
from wsi_specdec.stain import (
    TileStatus,
    fit_store,
    merge_profiles,
    normalise,
    normalise_each,
)
from wsi_specdec.stain.target import StainTarget
from wsi_specdec.store import TileStore, open_store
from wsi_specdec.tiling.restained import Encoding, restain_stores

MakeSpec = Callable[..., ModelSpec]
MACENKO = StainConfig(method="macenko", max_pixels=6000)
SIZE = 32


def tiles_of(store: TileStore) -> NDArray[np.uint8]:
    return store.read(np.arange(store.n_tiles))


def spec_for(make_spec: MakeSpec, target: StainTarget) -> ModelSpec:
    return make_spec(stain=target.settings, stain_target=target.profile.to_json())


def normalised(stores: list[TileStore], out: Path, target: StainTarget) -> list[TileStore]:
    """Copies of stores, normalised, lossless."""
    restain_stores(
        stores, out, target, Encoding("lossless", 90), stain_dir=out / "before", threads=1
    )
    return [open_store(out / "tiles" / f"{store.slide_id}.zarr") for store in stores]


@pytest.fixture
def stores(tmp_path: Path) -> list[TileStore]:
    return [
        write_tiles(tmp_path / "tiles" / "s0.zarr", stained((6, SIZE, SIZE), 0)),
        write_tiles(tmp_path / "tiles" / "s1.zarr", stained((6, SIZE, SIZE), 1, OTHER_EOSIN)),
    ]


@pytest.fixture
def glass(tmp_path: Path) -> TileStore:
    return write_tiles(
        tmp_path / "tiles" / "glass.zarr", np.full((2, SIZE, SIZE, 3), 235, np.uint8)
    )


def test_each_tile_is_normalised_by_its_own_slide(
    make_spec: MakeSpec, stores: list[TileStore], tmp_path: Path
) -> None:
    profiles = [fit_store(store, MACENKO) for store in stores]
    target = stain_target(stores, tmp_path / "stain", MACENKO)
    assert target == StainTarget(merge_profiles(profiles), MACENKO)
    normaliser = stain_normaliser(stores, tmp_path / "stain", spec_for(make_spec, target))
    order = np.array([1, 0, 0, 1])
    mixed = np.stack([tiles_of(stores[number])[i] for i, number in enumerate(order)])
    out, statuses = normaliser.with_statuses(mixed, order)
    for i, number in enumerate(order):
        expected = normalise(mixed[i], profiles[number], target.profile)
        np.testing.assert_array_equal(out[i], expected)
        assert (expected != mixed[i]).any()
    assert count_statuses(statuses) == {"normalised": 4, "too_little_tissue": 0, "degenerate": 0}


@pytest.mark.parametrize("fit", ["slide", "tile"])
@pytest.mark.parametrize("method", ["macenko", "reinhard"])
def test_tiles_are_the_same_whether_stored_normalised_or_normalised_as_they_are_read(
    make_spec: MakeSpec, stores: list[TileStore], tmp_path: Path, method: str, fit: str
) -> None:
    settings = MACENKO.model_copy(update={"method": method, "fit": fit})
    target = target_by(settings)
    stored = normalised(stores, tmp_path / "out", target)
    spec = spec_for(make_spec, target)
    owners = np.repeat([0, 1], 6)
    before = np.concatenate([tiles_of(store) for store in stores])
    after = np.concatenate([tiles_of(store) for store in stored])
    assert (before != after).mean() > 0.5
    on_the_fly = stain_normaliser(stores, tmp_path / "stain", spec)
    np.testing.assert_array_equal(on_the_fly(before, owners), after)
    # Of both kinds together, each as it needs.
    both = stain_normaliser([stores[0], stored[1]], tmp_path / "stain", spec)
    mixed = np.concatenate([before[:6], after[6:]])
    np.testing.assert_array_equal(both(mixed, owners), after)


def test_tiles_of_no_store_are_normalised_alike(
    make_spec: MakeSpec, stores: list[TileStore], tmp_path: Path
) -> None:
    target = target_by(MACENKO)
    spec = spec_for(make_spec, target)
    tiles, none = tiles_of(stores[1]), np.zeros(6, np.int64)
    expected = stain_normaliser(stores[1:], tmp_path / "stain", spec)(tiles, none)
    np.testing.assert_array_equal(stream_normaliser(stores[1], spec)(tiles, none), expected)
    (stored,) = normalised(stores[1:], tmp_path / "out", target)
    assert stream_normaliser(stored, spec)(expected, none) is not tiles
    np.testing.assert_array_equal(stream_normaliser(stored, spec)(expected, none), expected)
    with pytest.raises(ModelError):
        stream_normaliser(stored, make_spec())
    assert stream_normaliser(stores[0], make_spec())(tiles, none) is tiles


def test_a_tile_that_cannot_be_fitted_by_itself_is_counted(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    settings = MACENKO.model_copy(update={"fit": "tile"})
    target = target_by(settings)
    tiles = stained((3, SIZE, SIZE))
    tiles[1] = 238
    store = write_tiles(tmp_path / "tiles" / "a.zarr", tiles)
    normaliser = stain_normaliser([store], tmp_path / "stain", spec_for(make_spec, target))
    out, statuses = normaliser.with_statuses(tiles, np.zeros(3, np.int64))
    np.testing.assert_array_equal(out, normalise_each(tiles, target.profile, settings)[0])
    assert statuses.tolist() == [0, TileStatus.TOO_LITTLE_TISSUE, 0]
    assert count_statuses(statuses)["too_little_tissue"] == 1


def test_a_slide_without_a_usable_profile_neither_counts_nor_changes(
    make_spec: MakeSpec, stores: list[TileStore], glass: TileStore, tmp_path: Path
) -> None:
    target = stain_target([glass, stores[0]], tmp_path / "stain", MACENKO)
    assert target is not None
    assert target.profile.n_pixels == fit_store(stores[0], MACENKO).n_pixels
    spec = spec_for(make_spec, target)
    normaliser = stain_normaliser([glass, stores[0]], tmp_path / "stain", spec)
    out, statuses = normaliser.with_statuses(tiles_of(glass), np.zeros(2, np.int64))
    np.testing.assert_array_equal(out, tiles_of(glass))
    assert statuses.tolist() == [TileStatus.TOO_LITTLE_TISSUE] * 2
    with pytest.raises(NotEnoughDataError):
        stain_target([glass], tmp_path / "stain", MACENKO)
    # Stored, it has kept its pixels, and still counts as of that target.
    (stored,) = normalised([glass], tmp_path / "out", target)
    again = stain_normaliser([stored], tmp_path / "stain", spec)
    assert again.with_statuses(tiles_of(stored), np.zeros(2, np.int64))[1].tolist() == [1, 1]


def test_without_a_target_tiles_stay_as_they_are(
    make_spec: MakeSpec, stores: list[TileStore], tmp_path: Path
) -> None:
    assert stain_target(stores, tmp_path / "stain", StainConfig()) is None
    tiles = tiles_of(stores[0])
    out = stain_normaliser(stores, tmp_path / "stain", make_spec())(tiles, np.zeros(6, np.int64))
    assert out is tiles
    assert not (tmp_path / "stain").exists()


def test_stores_that_are_normalised_bring_their_target_along(
    stores: list[TileStore], tmp_path: Path
) -> None:
    target = target_by(MACENKO)
    stored = normalised(stores, tmp_path / "out", target)
    assert stain_target(stored, tmp_path / "stain", StainConfig()) == target
    with pytest.raises(ConfigError, match="stain-normalised already"):
        stain_target(stored, tmp_path / "stain", MACENKO)
    for mixed in ([stored[0], stores[1]], [stores[0], stored[1]]):
        with pytest.raises(ConfigError, match="as in the slide"):
            stain_target(mixed, tmp_path / "stain", StainConfig())
    other = StainTarget(fit_store(stores[0], MACENKO), MACENKO)
    (elsewhere,) = normalised(stores[:1], tmp_path / "other", other)
    with pytest.raises(ConfigError, match="another target"):
        stain_target([elsewhere, stored[1]], tmp_path / "stain", StainConfig())


def test_a_model_refuses_tiles_of_another_target(
    make_spec: MakeSpec, stores: list[TileStore], tmp_path: Path
) -> None:
    stored = normalised(stores, tmp_path / "out", target_by(MACENKO))
    with pytest.raises(ModelError, match="takes tiles as they are in the slides"):
        stain_normaliser(stored, tmp_path / "stain", make_spec())
    other = StainTarget(fit_store(stores[0], MACENKO), MACENKO)
    with pytest.raises(ModelError, match=f"normalised to the target {other.sha256[:12]}"):
        stain_normaliser(stored, tmp_path / "stain", spec_for(make_spec, other))
    # Slides fitted by other settings are of another target too.
    fitted_otherwise = StainTarget(
        target_by(MACENKO).profile, MACENKO.model_copy(update={"seed": 1})
    )
    with pytest.raises(ModelError):
        stain_normaliser(stored, tmp_path / "stain", spec_for(make_spec, fitted_otherwise))


def test_augmentation_takes_the_stains_that_tiles_have(
    make_spec: MakeSpec, stores: list[TileStore], glass: TileStore, tmp_path: Path
) -> None:
    folder, every = tmp_path / "stain", [*stores, glass]
    own = stains_in_tiles(every, folder, make_spec())
    fitted = StainConfig(method="macenko")
    assert own[:2] == tuple(fit_store(store, fitted) for store in stores)
    assert own[2] is None
    target = target_by(MACENKO)
    spec = spec_for(make_spec, target)
    assert stains_in_tiles(every, folder, spec) == (target.profile, target.profile, None)
    stored = normalised(every, tmp_path / "out", target)
    assert stains_in_tiles(stored, folder, spec) == (target.profile, target.profile, None)
    reinhard = target_by(MACENKO.model_copy(update={"method": "reinhard"}))
    assert stains_in_tiles(stores, folder, spec_for(make_spec, reinhard)) == (None, None)
