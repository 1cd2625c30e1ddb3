"""The tile store: schema, codec, writer, batch reader, scores and HDF5 exchange."""

from wsi_specdec.store.batch import BatchReader
from wsi_specdec.store.codec import JpegCodec
from wsi_specdec.store.embeddings import (
    EmbeddingsWriter,
    embeddings_folder,
    embeddings_path,
    read_embeddings,
    read_embeddings_metadata,
)
from wsi_specdec.store.hdf5 import Hdf5Coords, export_coords, read_coords
from wsi_specdec.store.jpeg import decode_jpeg, encode_jpeg
from wsi_specdec.store.packed import (
    PackedImage,
    PackedIndex,
    PackedStoreWriter,
    encoded_tile,
    is_packed,
    open_stores,
    packed_attributes,
    packed_images,
    read_index,
)
from wsi_specdec.store.reader import TileStore, find_stores, open_store, store_path
from wsi_specdec.store.scores import read_scores, read_scores_metadata, scores_path, write_scores
from wsi_specdec.store.writer import TileStoreWriter

__all__ = [
    "BatchReader",
    "EmbeddingsWriter",
    "Hdf5Coords",
    "JpegCodec",
    "PackedImage",
    "PackedIndex",
    "PackedStoreWriter",
    "TileStore",
    "TileStoreWriter",
    "decode_jpeg",
    "embeddings_folder",
    "embeddings_path",
    "encode_jpeg",
    "encoded_tile",
    "export_coords",
    "find_stores",
    "is_packed",
    "open_store",
    "open_stores",
    "packed_attributes",
    "packed_images",
    "read_coords",
    "read_embeddings",
    "read_embeddings_metadata",
    "read_index",
    "read_scores",
    "read_scores_metadata",
    "scores_path",
    "store_path",
    "write_scores",
]
