import numpy as np
import torch
from scipy.stats import kstest

from wsi_specdec.training.seeds import sample_keys, uniforms


def test_keys_are_of_seed_epoch_sample_and_repeat_alone() -> None:
    order = np.array([7, 3, 7, 0, 3, 7])
    keys = sample_keys(order, seed=1, epoch=2)
    assert len(set(keys.tolist())) == len(order)
    alone = {row: sample_keys(np.array([row] * 3), seed=1, epoch=2) for row in (0, 3, 7)}
    repeat = {0: 0, 1: 0, 2: 1, 3: 0, 4: 1, 5: 2}
    assert keys.tolist() == [int(alone[row][repeat[i]]) for i, row in enumerate(order.tolist())]
    for seed, epoch in ((0, 2), (1, 3)):
        other = sample_keys(order, seed=seed, epoch=epoch)
        assert not set(other.tolist()) & set(keys.tolist())


def test_numbers_are_uniform_and_those_of_streams_and_keys_are_unlike() -> None:
    keys = sample_keys(np.arange(4000), seed=0, epoch=0)
    numbers = {stream: uniforms(keys, stream, 3) for stream in (0, 1)}
    columns = np.concatenate(list(numbers.values()), axis=1)
    assert 0 <= columns.min() < columns.max() < 1
    for column in columns.T:
        assert kstest(column, "uniform").pvalue > 1e-3
    correlation = np.corrcoef(columns.T) - np.eye(6)
    assert np.abs(correlation).max() < 0.06
    assert np.abs(np.corrcoef(columns[1:, 0], columns[:-1, 0])[0, 1]) < 0.06


def test_numbers_do_not_depend_on_how_many_are_drawn_or_for_whom() -> None:
    keys = sample_keys(np.arange(10), seed=0, epoch=0)
    many = uniforms(keys, 5, 4)
    assert np.array_equal(uniforms(keys, 5, 2), many[:, :2])
    assert np.array_equal(uniforms(keys[3:5], 5, 4), many[3:5])
    assert uniforms(torch.empty(0, dtype=torch.int64), 5, 4).shape == (0, 4)
