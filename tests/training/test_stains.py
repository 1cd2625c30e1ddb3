"""Training on tiles that are stain-normalised, and stain augmentation by a slide's own stains."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load
from stained_images import OTHER_EOSIN, stained, target_by, write_tiles

from wsi_specdec.cohort import Slide
from wsi_specdec.config import AugmentConfig, StainConfig, TrainConfig
from wsi_specdec.config.augment import StainJitter
from wsi_specdec.errors import ConfigError
from wsi_specdec.models import load_spec
from wsi_specdec.models.stained import target_of
from wsi_specdec.stain import StainProfile, fit_store, profile_path, standard_vectors
from wsi_specdec.store import TileStore, open_store
from wsi_specdec.tiling.restained import Encoding, restain_stores
from wsi_specdec.training import train
from wsi_specdec.training.augment import Stains, augment
from wsi_specdec.training.augment.stain import restain
from wsi_specdec.training.seeds import sample_keys

MACENKO = StainConfig(method="macenko", max_pixels=4000)
SIZE = 32


Cohort = tuple[list[Slide], dict[str, TileStore]]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Four training and two validation slides, of two laboratories."""
    folder = tmp_path_factory.mktemp("stains") / "tiles"
    slides, stores = [], {}
    for number in range(6):
        name = f"s{number}"
        eosin = (0.07, 0.99, 0.11) if number % 2 else OTHER_EOSIN
        tiles = stained((8, SIZE, SIZE), number, eosin, block=4 if number % 2 else 1)
        stores[name] = write_tiles(folder / f"{name}.zarr", tiles)
        split = "train" if number < 4 else "validation"
        slides.append(Slide(name, Path(f"{name}.svs"), f"p{number}", number % 2, split))
    return slides, stores


@pytest.fixture
def config() -> TrainConfig:
    return TrainConfig(
        model="test_resnet", epochs=1, batch_size=16, tensorboard=False, pictures=False
    )


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load((folder / "weights.safetensors").read_bytes())
    return found


def test_training_on_stored_normalised_tiles_is_training_that_normalises(
    cohort: Cohort, config: TrainConfig, tmp_path: Path
) -> None:
    slides, stores = cohort
    stain = config.model_copy(update={"stain": MACENKO})
    on_the_fly = train(stores, slides, tmp_path / "fly", stain, tmp_path / "stain")
    spec = load_spec(on_the_fly)
    assert spec.stain_target is not None
    target = target_of(spec)
    assert target is not None
    restain_stores(
        list(stores.values()),
        tmp_path,
        target,
        Encoding("lossless", 90),
        stain_dir=tmp_path / "stain",
        threads=1,
    )
    copies = {name: open_store(tmp_path / "tiles" / f"{name}.zarr") for name in stores}
    stored = train(copies, slides, tmp_path / "stored", config, tmp_path / "stain")
    assert load_spec(stored).stain == spec.stain
    assert load_spec(stored).stain_target == spec.stain_target
    assert same(weights(on_the_fly), weights(stored))
    assert "| stain normalisation | macenko |" in (stored / "MODEL_CARD.md").read_text()
    with pytest.raises(ConfigError, match="stain-normalised already"):
        train(copies, slides, tmp_path / "twice", stain, tmp_path / "stain")
    with pytest.raises(ConfigError, match="differ in their stains"):
        train(
            {**stores, "s0": copies["s0"]}, slides, tmp_path / "mixed", config, tmp_path / "stain"
        )


def test_the_stains_augmented_by_are_part_of_what_is_learned(
    cohort: Cohort, config: TrainConfig, tmp_path: Path
) -> None:
    slides, stores = cohort
    found = {}
    for name in ("standard", "slide", "slide again"):
        jitter = {"probability": 1, "alpha": 0.5, "vectors": name.split()[0]}
        augment_by = AugmentConfig(stain=StainJitter.model_validate(jitter))
        changed = config.model_copy(update={"augment": augment_by})
        found[name] = weights(train(stores, slides, tmp_path / name, changed, tmp_path / "stain"))
    assert same(found["slide"], found["slide again"])
    assert not same(found["slide"], found["standard"])
    # Fitted by the defaults, whatever the rest of the settings, and once.
    folder = tmp_path / "stain"
    assert set(folder.iterdir()) == {
        profile_path(folder, f"s{number}", StainConfig(method="macenko")) for number in range(6)
    }


def profiles() -> tuple[StainProfile, StainProfile]:
    first = target_by(MACENKO).profile
    moved = {"stain_matrix": first.stain_matrix[::-1]}
    return first, StainProfile.from_json(first.to_json() | moved)


def test_each_tile_is_restained_along_the_vectors_of_its_own_slide() -> None:
    both = profiles()
    owner = np.array([1, 0, 2, 1])
    stains = Stains((*both, None), owner)
    vectors = [both[1].matrix(), both[0].matrix(), standard_vectors(), both[1].matrix()]
    density = np.stack([0.7 * pair[0] + 0.4 * pair[1] for pair in vectors])
    pixels = torch.from_numpy(np.exp(-density)).float().view(4, 3, 1, 1)
    alpha = np.array([[1.2, 0.8], [0.7, 1.1], [1.3, 1.0], [1.0, 0.5]])
    beta = np.array([[0.05, 0.0], [0.0, 0.1], [-0.05, 0.02], [0.0, 0.0]])
    found = restain(pixels, alpha, beta, stains).view(4, 3).numpy()
    amounts = np.array([0.7, 0.4]) * alpha + beta
    expected = np.stack([np.exp(-a @ pair) for a, pair in zip(amounts, vectors, strict=True)])
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_a_tiles_stains_go_with_it_whatever_the_batch() -> None:
    n = 24
    jitter = StainJitter(probability=0.6, alpha=0.5, vectors="slide")
    settings = TrainConfig(augment=AugmentConfig(stain=jitter))
    tiles = torch.from_numpy(stained((n, 17, 17)))
    keys = sample_keys(np.arange(n), seed=0, epoch=0)
    stains = Stains((*profiles(), None), np.arange(n) % 3)
    whole = augment(tiles, settings, keys, stains)
    for rows in (slice(0, 7), slice(7, n), slice(11, 12)):
        part = augment(tiles[rows], settings, keys[rows], stains.part(rows))
        torch.testing.assert_close(part, whole[rows], rtol=0, atol=1e-6)
    standard = augment(tiles, settings, keys)
    apart = (standard - whole).abs().amax(dim=(1, 2, 3)).numpy()
    assert (apart[2::3] < 1e-6).all()
    assert (apart[0::3] > 1e-3).sum() >= 3


def test_a_slide_is_fitted_as_its_store_is(
    cohort: Cohort,
) -> None:
    """What `stained` mixes is what the profile finds, or the tests above would show little."""
    profile = fit_store(cohort[1]["s1"], MACENKO)
    eosin = np.array((0.07, 0.99, 0.11))
    assert profile.status == "ok"
    assert float(profile.matrix()[1] @ eosin / np.linalg.norm(eosin)) > 0.99
