"""The tile store: schema, codec, writer, batch reader, scores and HDF5 exchange."""

from wsi_specdec.store.batch import BatchReader
from wsi_specdec.store.codec import JpegCodec
from wsi_specdec.store.hdf5 import Hdf5Coords, export_coords, read_coords
from wsi_specdec.store.jpeg import decode_jpeg, encode_jpeg
from wsi_specdec.store.reader import TileStore, find_stores, open_store, store_path
from wsi_specdec.store.scores import read_scores, read_scores_metadata, scores_path, write_scores
from wsi_specdec.store.writer import TileStoreWriter

__all__ = [
    "BatchReader",
    "Hdf5Coords",
    "JpegCodec",
    "TileStore",
    "TileStoreWriter",
    "decode_jpeg",
    "encode_jpeg",
    "export_coords",
    "find_stores",
    "open_store",
    "read_coords",
    "read_scores",
    "read_scores_metadata",
    "scores_path",
    "store_path",
    "write_scores",
]
