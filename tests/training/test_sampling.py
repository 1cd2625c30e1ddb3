from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsi_specdec.config import TrainConfig
from wsi_specdec.store import TileStore
from wsi_specdec.training import TileSet
from wsi_specdec.training.sampling import (
    Groups,
    draw_epoch,
    epoch_length,
    steps_per_epoch,
)

sizes = st.lists(st.integers(0, 12), min_size=2, max_size=6)


def groups_of(table: list[list[int]], patients: list[int] | None = None) -> Groups:
    """Groups of slides (rows) that have so many tiles of each class (columns)."""
    slides = [(s, c) for s, row in enumerate(table) for c, n in enumerate(row) for _ in range(n)]
    slide, label = np.array(slides, np.int64).reshape(-1, 2).T
    patient = slide if patients is None else np.array(patients, np.int64)[slide]
    return Groups(label, slide, patient)


def drawn_of(
    groups: Groups, epoch: int = 0, *, balance: bool = True, **settings: object
) -> NDArray[np.int64]:
    config = TrainConfig.model_validate(
        {"batch_size": max(1, len(groups.label)), "balance_classes": balance, **settings}
    )
    (rows,) = draw_epoch(groups, config, epoch)
    return rows


@given(
    st.integers(1, 60), st.integers(1, 60), st.integers(1, 20), st.booleans(), st.integers(-5, 5)
)
def test_batches_are_whole_and_as_many_as_promised(
    normal: int, tumour: int, size: int, balance: bool, seed: int
) -> None:
    n = normal + tumour
    config = TrainConfig(batch_size=size, balance_classes=balance, seed=seed)
    batches = draw_epoch(groups_of([[normal, tumour]]), config, 0)
    assert len(batches) == steps_per_epoch(n, size)
    assert {len(batch) for batch in batches} == {min(size, n)}


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 9))
def test_balanced_epochs_draw_each_class_alike_and_each_tile_evenly(
    normal: int, tumour: int, epoch: int
) -> None:
    groups = groups_of([[normal, tumour]])
    label, n = groups.label, normal + tumour
    drawn = drawn_of(groups, epoch, seed=1)
    counts = np.bincount(label[drawn], minlength=2)
    assert abs(counts[0] - counts[1]) <= 1
    for name in (0, 1):
        times = np.bincount(drawn, minlength=n)[label == name]
        assert times.max() - times.min() <= 1


def test_an_unbalanced_epoch_sees_every_tile_once() -> None:
    drawn = drawn_of(groups_of([[7, 3]]), balance=False)
    assert sorted(drawn) == list(range(10))


@pytest.mark.parametrize("draw_by", ["tile", "slide", "patient"])
@pytest.mark.parametrize("most", [None, 5])
def test_the_order_depends_on_seed_and_epoch_alone(draw_by: str, most: int | None) -> None:
    groups = groups_of([[9, 4], [20, 0], [3, 8], [6, 6]], [0, 0, 1, 2])

    def order(seed: int, epoch: int) -> list[int]:
        rows = drawn_of(groups, epoch, seed=seed, draw_by=draw_by, max_tiles_per_slide=most)
        return [int(row) for row in rows]

    assert order(0, 1) == order(0, 1)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4
    # A batch's size cuts the same order elsewhere.
    config = TrainConfig(batch_size=4, draw_by="tile", max_tiles_per_slide=most)
    assert (
        np.concatenate(draw_epoch(groups, config, 1)).tolist()
        == drawn_of(groups, 1, max_tiles_per_slide=most).tolist()[
            : 4 * (epoch_length(groups, most) // 4)
        ]
    )


@given(st.lists(st.tuples(*[st.integers(0, 9)] * 3), min_size=2, max_size=5), st.integers(0, 3))
def test_slides_of_a_class_are_drawn_alike(table: list[tuple[int, int, int]], epoch: int) -> None:
    groups = groups_of([list(row) for row in table])
    if not len(groups.label):
        return
    drawn = drawn_of(groups, epoch, draw_by="slide")
    classes = np.unique(groups.label)
    of_class = [int((groups.label[drawn] == c).sum()) for c in classes]
    assert sum(of_class) == len(groups.label)
    assert max(of_class) - min(of_class) <= 1
    times = np.bincount(drawn, minlength=len(groups.label))
    for name in classes:
        own = groups.label == name
        of_slide = [int(times[own & (groups.slide == s)].sum()) for s in set(groups.slide[own])]
        assert max(of_slide) - min(of_slide) <= 1
        for slide in set(groups.slide[own]):
            of_tile = times[own & (groups.slide == slide)]
            assert of_tile.max() - of_tile.min() <= 1


def test_patients_are_drawn_alike_and_within_them_their_slides() -> None:
    # The first patient has three slides, the second one.
    groups = groups_of([[30, 0], [6, 0], [24, 0], [20, 0], [0, 40]], [0, 0, 0, 1, 2])
    drawn = drawn_of(groups, draw_by="patient")
    counts = np.bincount(groups.slide[drawn])
    assert counts.tolist()[3:] == [30, 60]
    assert counts[:3].tolist() == [10, 10, 10]
    even = drawn_of(groups, draw_by="slide")
    assert np.bincount(groups.slide[even]).tolist() == [15, 15, 15, 15, 60]


def test_the_rest_goes_to_other_slides_in_other_epochs() -> None:
    # Four draws of three slides.
    groups = groups_of([[2, 0], [1, 0], [1, 0]])
    most = {
        int(
            np.bincount(
                groups.slide[drawn_of(groups, epoch, draw_by="slide", balance=False)]
            ).argmax()
        )
        for epoch in range(30)
    }
    assert most == {0, 1, 2}


@given(sizes, st.integers(1, 8), st.integers(0, 3))
def test_a_slide_gives_no_more_different_tiles_than_its_cap(
    counts: list[int], most: int, epoch: int
) -> None:
    groups = groups_of([[n, n // 3] for n in counts])
    if not len(groups.label):
        return
    drawn = drawn_of(groups, epoch, balance=False, max_tiles_per_slide=most)
    expected = {
        (slide, name): min(most, n)
        for slide, count in enumerate(counts)
        for name, n in enumerate((count, count // 3))
        if n
    }
    pairs = list(zip(groups.slide[drawn].tolist(), groups.label[drawn].tolist(), strict=True))
    assert {pair: pairs.count(pair) for pair in set(pairs)} == expected
    assert len(set(drawn.tolist())) == len(drawn) == epoch_length(groups, most)


def test_capped_epochs_take_other_tiles_and_in_time_all() -> None:
    groups = groups_of([[12, 0], [0, 3]])
    epochs = [set(drawn_of(groups, e, max_tiles_per_slide=4).tolist()) for e in range(30)]
    assert len({frozenset(rows) for rows in epochs}) > 5
    assert set.union(*epochs) == set(range(15))


def test_tiles_of_no_class_are_never_drawn() -> None:
    label = np.array([-1, 0, -1, 1, 1, 2, -1], np.int64)
    groups = Groups(label, np.array([0, 0, 0, 1, 1, 1, 2]), np.array([0, 0, 0, 1, 1, 1, 2]))
    for draw_by in ("tile", "slide", "patient"):
        for most in (None, 1):
            drawn = drawn_of(groups, draw_by=draw_by, max_tiles_per_slide=most)
            assert set(label[drawn].tolist()) == {0, 1, 2}
            assert len(drawn) == epoch_length(groups, most) == (4 if most is None else 3)


def test_groups_are_those_of_a_set_of_tiles(make_store: Callable[..., TileStore]) -> None:
    stores = tuple(make_store(name, [0, 1]) for name in "abc")
    owner = np.array([0, 0, 1, 2], np.int64)
    tiles = TileSet(stores, owner, np.array([0, 1, 0, 1]), np.array([0, 1, 0, 1]), ("p", "q", "p"))
    groups = Groups.of(tiles)
    assert groups.slide.tolist() == [0, 0, 1, 2]
    assert groups.patient.tolist() == [0, 0, 1, 0]
    assert groups.label.tolist() == [0, 1, 0, 1]
