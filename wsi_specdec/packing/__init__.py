"""From images that are no slides to a packed store, and the ledger of what became of each."""

from wsi_specdec.packing.listing import Entry, Listing, list_images
from wsi_specdec.packing.pack import pack_images
from wsi_specdec.packing.square import to_square

__all__ = ["Entry", "Listing", "list_images", "pack_images", "to_square"]
