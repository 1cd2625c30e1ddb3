"""The JPEG codec by which plain zarr reads our stores, registered by entry point."""

import asyncio
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from zarr.abc.codec import ArrayBytesCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, NDBuffer
from zarr.core.chunk_grids import ChunkGrid
from zarr.core.common import JSON, parse_named_configuration
from zarr.core.dtype import ZDType
from zarr.core.dtype.wrapper import TBaseDType, TBaseScalar

from wsi_specdec.store.jpeg import decode_jpeg, encode_jpeg

JPEG_CODEC: Final = "wsi_specdec.jpeg"


@dataclass(frozen=True)
class JpegCodec(ArrayBytesCodec):
    """Zarr v3 codec between a chunk (1, height, width, 3) of uint8 and one complete JPEG.

    Attributes
    ----------
    quality
        libjpeg's quality, 1 to 100, of what this codec itself encodes.
    """

    is_fixed_size = False

    quality: int

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            msg = f"JPEG quality must be 1 to 100, got {self.quality}"
            raise ValueError(msg)

    @classmethod
    def from_dict(cls, data: dict[str, JSON]) -> Self:
        """Build the codec from array metadata."""
        _, configuration = parse_named_configuration(data, JPEG_CODEC)
        return cls(**configuration)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, JSON]:
        """Render the codec for array metadata."""
        return {"name": JPEG_CODEC, "configuration": {"quality": self.quality}}

    def validate(
        self,
        *,
        shape: tuple[int, ...],
        dtype: ZDType[TBaseDType, TBaseScalar],
        chunk_grid: ChunkGrid,
    ) -> None:
        """Refuse arrays that are not images.

        Raises
        ------
        ValueError
            If the array is not (N, height, width, 3) of uint8.
        """
        del chunk_grid
        if dtype.to_native_dtype() != np.uint8 or len(shape) != 4 or shape[-1] != 3:
            msg = (
                f"{JPEG_CODEC} stores uint8 images (N, height, width, 3), "
                f"got {dtype.to_native_dtype()} {shape}"
            )
            raise ValueError(msg)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Refuse: the size of a JPEG depends on its content."""
        raise NotImplementedError

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        out = np.empty(chunk_spec.shape, np.uint8)
        await asyncio.to_thread(decode_jpeg, chunk_data.to_bytes(), out[0])
        return chunk_spec.prototype.nd_buffer.from_numpy_array(out)

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        tile = chunk_data.as_numpy_array()[0]
        data = await asyncio.to_thread(encode_jpeg, tile, self.quality)
        return chunk_spec.prototype.buffer.from_bytes(data)
