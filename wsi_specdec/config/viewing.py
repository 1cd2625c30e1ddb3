"""The viewer: what it listens on and how much it keeps."""

from typing import Annotated

from pydantic import Field

from wsi_specdec.config.base import Count, StageConfig


class ViewConfig(StageConfig):
    """Slides in the browser."""

    # Reached from this machine alone, unless another address is asked for.
    host: str = "127.0.0.1"
    # 0 takes a free one.
    port: Annotated[int, Field(ge=0, le=65535)] = 8764
    # Side of the tiles that the browser gets, in pixels.
    tile_size: Annotated[int, Field(ge=64, le=1024)] = 256
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 85
    # Encoded tiles kept in memory.
    cache_mb: Count = 128
    # Slides held open; each keeps some 40 MB of decoded pixels.
    open_slides: Count = 8
    # Tiles made at a time.
    threads: Count = 4
