"""Packed images are scored many in a batch, and each as if it were alone."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_specdec.config import ScoreConfig, StainConfig
from wsi_specdec.errors import StoreError
from wsi_specdec.runner import LedgerSummary, read_ledger
from wsi_specdec.scoring import StoreSource, images, score_sources, score_stores
from wsi_specdec.scoring.images import together
from wsi_specdec.stain import fit_store, merge_profiles
from wsi_specdec.store import (
    PackedImage,
    PackedIndex,
    PackedStoreWriter,
    TileStore,
    open_store,
    packed_attributes,
    packed_images,
    read_embeddings,
    read_scores,
    read_scores_metadata,
)

SIZE = 32
NAMES = tuple(f"image-{number}" for number in range(7))
CONFIG = ScoreConfig(batch_size=3, device="cpu")
MakeStore = Callable[..., TileStore]
MakeModel = Callable[..., Path]


@pytest.fixture
def packed(tmp_path: Path, make_store: MakeStore) -> dict[str, PackedImage]:
    """Seven stained images, the last of which is blank."""
    tiles = make_store("a", 7).read(np.arange(7)).copy()
    tiles[6] = 255
    attributes = packed_attributes("images", size=SIZE, classes=["a", "b"], params_sha256="p")
    with PackedStoreWriter(
        tmp_path / "packed" / "tiles" / "images.zarr",
        n_tiles=7,
        tile_size=SIZE,
        codec="lossless",
        attributes=attributes | {"provenance": {}},
    ) as writer:
        writer.append(tiles)
        sizes = np.full((7, 2), SIZE)
        writer.finish_packed(PackedIndex(NAMES, NAMES, NAMES, sizes), np.zeros(7))
    return packed_images(open_store(tmp_path / "packed" / "tiles" / "images.zarr"))


def score(folder: Path, model: Path, stores: Mapping[str, TileStore], **settings: object) -> Path:
    config = CONFIG.model_copy(update=settings)
    score_stores(stores, model, folder / "scores", config, folder / "stain")
    return folder / "scores"


def source(stores: Mapping[str, TileStore]) -> list[StoreSource]:
    return [StoreSource(store) for store in stores.values()]


def values(folder: Path, column: str = "logit_tumour") -> NDArray[np.float64]:
    return np.concatenate([read_scores(folder / f"{name}.parquet")[column] for name in NAMES])


def test_images_of_one_store_go_together_and_slides_do_not(
    packed: dict[str, PackedImage], make_store: MakeStore
) -> None:
    slides = {name: make_store(name, 2) for name in ("x", "y")}
    groups = together(source(packed | slides), batch_size=3)
    assert [tuple(each.slide_id for each in group) for group in groups] == [NAMES, ("x",), ("y",)]


def test_each_image_has_the_files_it_has_alone(
    tmp_path: Path,
    packed: dict[str, PackedImage],
    make_model: MakeModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stain = StainConfig(method="macenko")
    target = merge_profiles([fit_store(packed["image-0"], stain)])
    model = make_model(stain=stain, stain_target=target.to_json())
    batches = score(tmp_path / "batches", model, packed, embeddings=True)
    monkeypatch.setattr(images, "_base", lambda _: None)
    alone = score(tmp_path / "alone", model, packed, embeddings=True)
    np.testing.assert_allclose(values(batches), values(alone), rtol=1e-4, atol=1e-5)
    assert np.ptp(values(batches)) > 1e-3
    for name in NAMES:
        mine, theirs = (read_scores_metadata(each / f"{name}.parquet") for each in (batches, alone))
        assert mine.pop("provenance").keys() == theirs.pop("provenance").keys()
        assert mine == theirs
        found = [
            read_embeddings(each.parent / "embeddings" / f"{name}.zarr")
            for each in (batches, alone)
        ]
        np.testing.assert_allclose(found[0], found[1], rtol=2e-2, atol=1e-3)
        ended = "too_little_tissue" if name == "image-6" else "normalised"
        assert mine["stains"][0][ended] == 1
        assert sum(mine["stains"][0].values()) == 1


def test_what_is_scored_stays_and_the_rest_is_added(
    tmp_path: Path, packed: dict[str, PackedImage], make_model: MakeModel
) -> None:
    model = make_model()
    first = dict(list(packed.items())[:4])
    folder = score(tmp_path, model, first)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    score(tmp_path, model, packed)
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(after) == 7
    assert {name: after[name] for name in before} == before
    whole = score(tmp_path / "whole", model, packed)
    np.testing.assert_allclose(values(folder), values(whole), rtol=1e-4, atol=1e-5)
    assert np.ptp(values(whole)[4:]) > 1e-3


def test_images_that_are_not_good_enough_get_files_without_rows(
    tmp_path: Path, packed: dict[str, PackedImage], make_model: MakeModel
) -> None:
    with pytest.raises(StoreError, match="'sharpness'"):
        score(tmp_path, make_model(), packed, quality={"sharpness": (1.0, None)})
    vars(packed["image-0"].base)["tissue_fraction"] = np.array(
        [1, 0.2, 1, 1, 1, 1, 0.2], np.float32
    )
    folder = score(tmp_path, make_model(), packed, min_tissue=0.5, embeddings=True)
    rows = [len(read_scores(folder / f"{name}.parquet")) for name in NAMES]
    assert rows == [1, 0, 1, 1, 1, 1, 0]
    assert "min_tissue" in read_scores_metadata(folder / "image-1.parquet")["reason"]
    assert read_embeddings(tmp_path / "embeddings" / "image-1.zarr").shape[0] == 0


def test_a_damaged_image_costs_itself_alone(
    tmp_path: Path, packed: dict[str, PackedImage], make_model: MakeModel
) -> None:
    (located,) = packed["image-4"].locate(np.zeros(1, np.int64))
    with located.shard.path.open("r+b") as handle:
        handle.seek(located.ranges[0][0])
        handle.write(b"\0" * 32)

    def run() -> LedgerSummary:
        out = tmp_path / "scores"
        return score_sources(source(packed), make_model(), out, CONFIG, tmp_path / "stain")

    summary = run()
    assert [name for name, _ in summary.failures] == ["image-4"]
    assert "damaged" in summary.failures[0][1]
    ledger = {row.slide_id: row for row in read_ledger(tmp_path / "scores")}
    assert {name: row.tiles for name, row in ledger.items()} == {
        name: int(name != "image-4") for name in NAMES
    }
    assert run().failures == summary.failures
