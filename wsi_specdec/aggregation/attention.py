"""The attention that tiles get, for heatmaps."""

from collections.abc import Sequence
from pathlib import Path

from wsi_specdec.aggregation.aggregator import Aggregator
from wsi_specdec.aggregation.pooling import Mil
from wsi_specdec.aggregation.tiles import read_tiles
from wsi_specdec.config import Pooling
from wsi_specdec.errors import ConfigError
from wsi_specdec.keys import ATTENTION_DIR
from wsi_specdec.store.attention import write_attention
from wsi_specdec.store.calls import Call
from wsi_specdec.store.scores import scores_path


def check_attention(pooling: Pooling) -> None:
    """Refuse a pooling that gives tiles no attention.

    Raises
    ------
    ConfigError
        If it is not `mil`.
    """
    if pooling != "mil":
        msg = f"the pooling {pooling!r} gives tiles no attention to write: choose 'mil'"
        raise ConfigError(msg)


def save_attention(
    folder: Path, scores: Path, calls: Sequence[Call], aggregator: Aggregator
) -> None:
    """Write `attention/<slide_id>.parquet` of every slide that has a call.

    Raises
    ------
    ConfigError
        If the aggregator's pooling has no attention.
    """
    check_attention(aggregator.pooling)
    pooler = aggregator.pooler
    assert isinstance(pooler, Mil)
    for call in calls:
        if call.score is not None:
            tiles = read_tiles(scores_path(scores, call.slide_id))
            path = scores_path(folder / ATTENTION_DIR, call.slide_id)
            write_attention(path, tiles.coords, pooler.attention(tiles))
