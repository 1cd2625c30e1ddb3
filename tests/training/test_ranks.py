import numpy as np
import pytest
import torch

from wsi_specdec.errors import ConfigError
from wsi_specdec.training.ranks import Ranks, joined, own_device


@pytest.mark.parametrize(("size", "count"), [(8, 1), (8, 2), (7, 3), (5, 5)])
def test_shares_are_all_of_a_batch_once_and_none_is_empty(size: int, count: int) -> None:
    rows = np.arange(size)
    shares = [rows[Ranks(rank, count).share(rows)] for rank in range(count)]
    assert np.array_equal(np.concatenate(shares), rows)
    lengths = [len(share) for share in shares]
    assert max(lengths) - min(lengths) <= 1


def test_alone_everything_is_decided_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined("cpu") as (ranks, device):
        assert (ranks, device) == (Ranks(), torch.device("cpu"))
        assert ranks.first
        assert ranks.agreed(lambda: 3) == 3
        assert ranks.first_then_all(lambda: 4) == 4
        assert ranks.summed(torch.ones(2)).tolist() == [1, 1]


def test_one_device_for_several_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_device("cpu", 1) == torch.device("cpu")
    monkeypatch.setattr("wsi_specdec.training.ranks.resolve_device", torch.device)
    assert own_device("cuda", 1) == torch.device("cuda:1")
    with pytest.raises(ConfigError, match="a device each"):
        own_device("cuda:0", 1)
