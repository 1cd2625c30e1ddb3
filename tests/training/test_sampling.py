import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsi_specdec.training.sampling import epoch_batches, steps_per_epoch


def _label(normal: int, tumour: int) -> NDArray[np.int64]:
    return np.repeat([0, 1], [normal, tumour]).astype(np.int64)


@given(
    st.integers(1, 60), st.integers(1, 60), st.integers(1, 20), st.booleans(), st.integers(-5, 5)
)
def test_batches_are_whole_and_as_many_as_promised(
    normal: int, tumour: int, size: int, balance: bool, seed: int
) -> None:
    n = normal + tumour
    batches = epoch_batches(_label(normal, tumour), size, balance=balance, seed=seed, epoch=0)
    assert len(batches) == steps_per_epoch(n, size)
    assert {len(batch) for batch in batches} == {min(size, n)}


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 9))
def test_balanced_epochs_draw_each_class_alike_and_each_tile_evenly(
    normal: int, tumour: int, epoch: int
) -> None:
    label = _label(normal, tumour)
    n = len(label)
    (drawn,) = epoch_batches(label, n, balance=True, seed=1, epoch=epoch)
    counts = np.bincount(label[drawn], minlength=2)
    assert abs(counts[0] - counts[1]) <= 1
    for name in (0, 1):
        times = np.bincount(drawn, minlength=n)[label == name]
        assert times.max() - times.min() <= 1


def test_an_unbalanced_epoch_sees_every_tile_once() -> None:
    (drawn,) = epoch_batches(_label(7, 3), 10, balance=False, seed=0, epoch=0)
    assert sorted(drawn) == list(range(10))


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    label = _label(50, 30)

    def order(seed: int, epoch: int) -> list[int]:
        batches = epoch_batches(label, 8, balance=True, seed=seed, epoch=epoch)
        return [int(row) for batch in batches for row in batch]

    assert order(0, 1) == order(0, 1)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4
