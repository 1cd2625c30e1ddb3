from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from wsi_specdec.cohort import Slide
from wsi_specdec.errors import LeakError, ManifestError, NotEnoughDataError, StoreError
from wsi_specdec.store import TileStore
from wsi_specdec.training import TileSet, choose_tiles


class MakeStore(Protocol):
    def __call__(self, name: str, label: list[int]) -> TileStore: ...


def slide(name: str, label: int | None, split: str | None = "train") -> Slide:
    return Slide(name, Path(f"{name}.svs"), f"patient-{name}", label, split)


def content(tiles: TileSet) -> dict[str, list[tuple[int, int]]]:
    """Slide id to (tile, label) of every tile in the set."""
    found: dict[str, list[tuple[int, int]]] = {store.slide_id: [] for store in tiles.stores}
    for owner, tile, label in zip(tiles.store_index, tiles.tile_index, tiles.label, strict=True):
        found[tiles.stores[owner].slide_id].append((int(tile), int(label)))
    return found


def test_tile_labels_are_taken_where_there_are_any(make_store: MakeStore) -> None:
    stores = {
        "b": make_store("b", [1, -1, 0, 1]),
        "a": make_store("a", [-1, -1]),
        "c": make_store("c", [-1, -1, -1]),
        "v": make_store("v", [1, -1]),
        "w": make_store("w", [-1]),
    }
    slides = [
        slide("b", 1),
        slide("a", 0),
        slide("c", 1),
        slide("v", None, "validation"),
        slide("w", 0, "validation"),
        slide("no-store", 1),
    ]
    for labels in ("auto", "tile"):
        data = choose_tiles(stores, slides, labels)
        assert data.label_source == "tile"
        assert content(data.train) == {"a": [(0, 0), (1, 0)], "b": [(0, 1), (2, 0), (3, 1)]}
        assert content(data.validation) == {"v": [(0, 1)], "w": [(0, 0)]}
    assert data.counts() == {
        "train": {"patients": 2, "slides": 2, "tiles": 5, "tiles_of_class": [3, 2]},
        "validation": {"patients": 2, "slides": 2, "tiles": 2, "tiles_of_class": [1, 1]},
    }


def test_slide_labels_are_taken_where_no_training_tile_has_one(make_store: MakeStore) -> None:
    stores = {
        "a": make_store("a", [-1, -1]),
        "b": make_store("b", [-1]),
        "v": make_store("v", [1, 0]),
        "u": make_store("u", [-1]),
    }
    slides = [
        slide("a", 0),
        slide("b", 1),
        slide("v", 1, "validation"),
        slide("u", None, "validation"),
    ]
    data = choose_tiles(stores, slides, "auto")
    assert data.label_source == "slide"
    assert content(data.train) == {"a": [(0, 0), (1, 0)], "b": [(0, 1)]}
    assert content(data.validation) == {"v": [(0, 1), (1, 1)]}


def test_slide_labels_can_be_asked_for(make_store: MakeStore) -> None:
    stores = {"a": make_store("a", [0, -1]), "b": make_store("b", [1, 0])}
    data = choose_tiles(stores, [slide("a", 0), slide("b", 1)], "slide")
    assert content(data.train) == {"a": [(0, 0), (1, 0)], "b": [(0, 1), (1, 1)]}


def test_other_splits_and_empty_stores_are_left_out(make_store: MakeStore) -> None:
    stores = {name: make_store(name, [1, 0]) for name in "abc"} | {"e": make_store("e", [])}
    slides = [slide("a", 1), slide("b", 1, "internal"), slide("c", 1, None), slide("e", None)]
    data = choose_tiles(stores, slides, "auto")
    assert content(data.train) == {"a": [(0, 1), (1, 0)]}
    assert len(data.validation) == 0


def test_training_slides_without_any_label_are_named(make_store: MakeStore) -> None:
    stores = {name: make_store(name, [-1]) for name in "abc"} | {"d": make_store("d", [1, 0])}
    slides = [slide("a", 0), slide("b", None), slide("c", None), slide("d", None)]
    with pytest.raises(ManifestError, match="without a label: b, c;"):
        choose_tiles(stores, slides, "auto")
    with pytest.raises(ManifestError, match="without a label: b, c, d;"):
        choose_tiles(stores, slides, "slide")


def test_a_normal_slide_with_tumour_tiles_is_a_contradiction(make_store: MakeStore) -> None:
    stores = {"a": make_store("a", [0, 1]), "b": make_store("b", [1, 0])}
    with pytest.raises(ManifestError, match=r"calls the slide a normal.* 1 tiles that are not"):
        choose_tiles(stores, [slide("a", 0), slide("b", 1)], "auto")


def test_a_third_class_has_to_be_named(make_store: MakeStore) -> None:
    stores, slides = {"a": make_store("a", [0, 2, 1, -1])}, [slide("a", 1)]
    with pytest.raises(StoreError, match=r"tile label 2.* 2 `classes`"):
        choose_tiles(stores, slides, "auto")
    data = choose_tiles(stores, slides, "auto", ("normal", "low", "high"))
    assert content(data.train) == {"a": [(0, 0), (1, 2), (2, 1)]}
    assert data.counts()["train"]["tiles_of_class"] == [1, 1, 1]
    with pytest.raises(NotEnoughDataError, match="1 normal, 1 low, 1 high, 0 other"):
        choose_tiles(stores, slides, "auto", ("normal", "low", "high", "other"))


def test_slides_may_be_of_several_classes(make_store: MakeStore) -> None:
    stores = {name: make_store(name, [-1]) for name in "abc"}
    slides = [slide("a", 0), slide("b", 1), slide("c", 2)]
    data = choose_tiles(stores, slides, "slide", ("normal", "low", "high"))
    assert content(data.train) == {"a": [(0, 0)], "b": [(0, 1)], "c": [(0, 2)]}
    with pytest.raises(ManifestError, match="slide c has the label 2"):
        choose_tiles(stores, slides, "slide")


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_not_enough(make_store: MakeStore, label: int) -> None:
    with pytest.raises(NotEnoughDataError, match="every class; by tile labels there are"):
        choose_tiles({"a": make_store("a", [label] * 3)}, [slide("a", label)], "auto")


def test_no_training_slide_is_not_enough(make_store: MakeStore) -> None:
    with pytest.raises(NotEnoughDataError, match="'split'"):
        choose_tiles({"a": make_store("a", [0, 1])}, [slide("a", 1, "validation")], "auto")


def test_a_patient_in_two_splits_is_a_leak(make_store: MakeStore) -> None:
    stores = {"a": make_store("a", [0, 1]), "b": make_store("b", [0, 1])}
    slides = [slide("a", 1), replace(slide("b", 1, "internal"), patient_id="patient-a")]
    with pytest.raises(LeakError, match="patient-a"):
        choose_tiles(stores, slides, "auto")


def test_the_digest_tells_other_tiles_and_labels_apart(make_store: MakeStore) -> None:
    stores = {"a": make_store("a", [0, -1, 1]), "b": make_store("b", [1, 0, -1])}
    slides = [slide("a", 1), slide("b", 1)]
    chosen = choose_tiles(stores, slides, "auto").train
    assert choose_tiles(stores, slides[::-1], "auto").train.digest() == chosen.digest()
    assert choose_tiles(stores, slides[:1], "auto").train.digest() != chosen.digest()
    flipped = replace(chosen, label=1 - chosen.label)
    moved = replace(chosen, tile_index=np.array([0, 1, 0, 1]))
    assert len({chosen.digest(), flipped.digest(), moved.digest()}) == 3
