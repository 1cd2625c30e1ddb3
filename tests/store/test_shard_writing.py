"""Shards as they are written: many pieces a call, and none lost where the disk is full."""

import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from wsi_specdec.store.shards import ShardWriter

LIMIT = 10_000


@pytest.fixture
def files_of_at_most_10_kb() -> Iterator[None]:
    """As a disk that is nearly full: a write takes what fits, and only the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("prefix", [b"", b"in front"])
def test_chunks_of_many_calls_lie_where_the_index_says(prefix: bytes, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    chunks = [rng.bytes(int(n)) for n in rng.integers(1, 50, 3000)]
    path = tmp_path / "shard"
    with ShardWriter(path, 3001) as writer:
        for start in range(0, 3000, 1300):
            part = chunks[start : start + 1300]
            numbers = np.arange(start, start + len(part))
            writer.put(numbers, [memoryview(chunk) for chunk in part], prefix)
    data = path.read_bytes()
    index = np.frombuffer(data[-4 - 16 * 3001 : -4], "<u8").reshape(-1, 2)
    assert index[3000].tolist() == [2**64 - 1] * 2
    found = [data[offset : offset + length] for offset, length in index[:3000].tolist()]
    assert found == [prefix + chunk for chunk in chunks]
    assert len(data) == sum(map(len, found)) + 16 * 3001 + 4


@pytest.mark.usefixtures("files_of_at_most_10_kb")
def test_a_write_that_takes_only_part_is_carried_on_until_it_fails(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path / "shard", 10)
    with pytest.raises(OSError, match="File too large"):
        writer.put(np.arange(2), [b"a" * 6_000, b"b" * 6_000])
    writer.__exit__(OSError, None, None)
    assert (tmp_path / "shard").stat().st_size == LIMIT
