"""Stores to stores whose stains are normalised."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.errors import ConfigError, SettingsMismatchError, StoreError
from wsi_specdec.files import sha256_of
from wsi_specdec.keys import STAIN_APPLIED, STAIN_DIR, STAIN_STATUS
from wsi_specdec.progress import Ticker, progress
from wsi_specdec.provenance import provenance
from wsi_specdec.stain import fit_stores
from wsi_specdec.stain.target import StainTarget, applied_status, applied_target
from wsi_specdec.store import TileStore, TileStoreWriter, open_store, store_path
from wsi_specdec.threads import in_order
from wsi_specdec.tiling.stained import TileNormaliser

# Tiles that a thread takes at a time.
_AT_ONCE: Final = 8
# Written by the store's writer itself.
_WRITERS_OWN: Final = ("schema_version", "complete")


@dataclass(frozen=True, slots=True)
class Encoding:
    """How normalised tiles are stored: `codec` None is that of the store they come from."""

    codec: Literal["jpeg", "lossless"] | None
    jpeg_quality: int

    def of(self, store: TileStore) -> Literal["jpeg", "lossless"]:
        """Return the codec for tiles of a store."""
        return store.codec if self.codec is None else self.codec


@dataclass(frozen=True, slots=True)
class Restained:
    """What became of stores.

    Attributes
    ----------
    out
        Where their copies are.
    statuses
        Slide id to `normalised`, `too_little_tissue`, `degenerate` or `each_tile`.
    failures
        Slide id to the reason why there is no copy.
    """

    out: Path
    statuses: Mapping[str, str]
    failures: Mapping[str, str]


def restained_params(store: TileStore, target: StainTarget, encoding: Encoding) -> str:
    """Hash of all that shapes a normalised copy of a store."""
    codec = encoding.of(store)
    return sha256_of(
        {
            "store": store.attributes.get("params_sha256"),
            "slide_fingerprint": store.attributes.get("slide_fingerprint"),
            "target": target.sha256,
            "codec": codec,
            "jpeg_quality": encoding.jpeg_quality if codec == "jpeg" else None,
        }
    )


def params_at(path: Path) -> str | None:
    """Return the hash of a store's settings, None where there is no complete store."""
    try:
        return str(open_store(path).attributes.get("params_sha256"))
    except StoreError:
        return None


def check_restainable(store: TileStore) -> None:
    """Refuse a store that cannot be normalised.

    Raises
    ------
    ConfigError
        If it is normalised already.
    StoreError
        If it is a packed store, whose images have no slide to be fitted to.
    """
    done = applied_target(store.attributes)
    if done is not None:
        msg = (
            f"{store.path} is stain-normalised already (by {done.profile.method}); name the "
            "folder of tiles as they are in the slides"
        )
        raise ConfigError(msg)
    if store.attributes.get("packed"):
        msg = f"{store.path} is a packed store: its images are of no one slide to be fitted to"
        raise StoreError(msg)


def restain_stores(
    stores: Sequence[TileStore],
    out: Path,
    target: StainTarget,
    encoding: Encoding,
    *,
    stain_dir: Path,
    threads: int,
    overwrite: bool = False,
) -> Restained:
    """Write normalised copies of stores; those that are there with the same settings are kept.

    A store that cannot be read costs itself alone.

    Parameters
    ----------
    stores
        Tiles as they are in the slides.
    out
        Output folder: `tiles/<slide_id>.zarr`, and slides' profiles in `stain/`.
    stain_dir
        Where profiles of `stores` are kept.
    overwrite
        Replace copies that were made with other settings.

    Raises
    ------
    ConfigError
        If a store is normalised already, or `out` is where the stores lie. Nothing is written then.
    SettingsMismatchError
        If `out` holds copies of other settings and `overwrite` is not set.
    """
    for store in stores:
        check_restainable(store)
    todo = _todo(stores, out, target, encoding, overwrite=overwrite)
    by_slide = target.settings.fit == "slide"
    statuses: dict[str, str] = {}
    failures: dict[str, str] = {}
    with progress("normalise tiles", sum(store.n_tiles for store in todo)) as tick:
        for store in todo:
            path = store_path(out, store.slide_id)
            try:
                source = None
                if by_slide:
                    source = fit_stores([store], stain_dir, target.settings)[store.slide_id]
                normaliser = TileNormaliser(target, source)
                restain_store(store, path, normaliser, encoding, threads=threads, tick=tick)
            except StoreError as error:
                failures[store.slide_id] = str(error)
                continue
            made_from = {
                "fitted": f"to the tiles of {store.path.name} before they were normalised",
                "store_params_sha256": restained_params(store, target, encoding),
                "slide_fingerprint": store.attributes.get("slide_fingerprint"),
            }
            normaliser.write_profile(out / STAIN_DIR, store.slide_id, made_from)
    for store in stores:
        if store.slide_id not in failures:
            made = open_store(store_path(out, store.slide_id))
            statuses[store.slide_id] = applied_status(made.attributes)
    return Restained(out, statuses, failures)


def _todo(
    stores: Sequence[TileStore],
    out: Path,
    target: StainTarget,
    encoding: Encoding,
    *,
    overwrite: bool,
) -> list[TileStore]:
    """Return the stores that have no copy of these settings yet."""
    todo, others = [], []
    for store in stores:
        path = store_path(out, store.slide_id)
        if path.resolve() == store.path.resolve():
            msg = f"{out} is where the tiles lie that shall be normalised: choose another --out"
            raise ConfigError(msg)
        found = params_at(path)
        if found == restained_params(store, target, encoding):
            continue
        todo.append(store)
        if found is not None:
            others.append(store.slide_id)
    if others and not overwrite:
        msg = (
            f"{out} holds {len(others)} stores of these slides made with other settings, of other "
            f"tiles or to another target: {', '.join(others[:10])}. Choose another --out, or "
            "replace them with --overwrite"
        )
        raise SettingsMismatchError(msg)
    return todo


def restain_store(
    store: TileStore,
    path: Path,
    normaliser: TileNormaliser,
    encoding: Encoding,
    *,
    threads: int,
    tick: Ticker,
) -> None:
    """Write a normalised copy of a store; threads each decode, normalise and encode a few tiles.

    Parameters
    ----------
    store
        Tiles as they are in the slide.
    path
        Where the copy goes; one that is there is replaced at the very end.
    tick
        Called with the number of tiles that are done.

    Raises
    ------
    StoreError
        If a tile is damaged.
    """
    statuses = np.empty(store.n_tiles, np.float32)
    with TileStoreWriter(
        path,
        n_tiles=store.n_tiles,
        tile_size=store.tile_size,
        codec=encoding.of(store),
        jpeg_quality=encoding.jpeg_quality,
        threads=1,
        attributes=_attributes(store, normaliser, encoding),
    ) as writer:

        def work(numbers: NDArray[np.int64]) -> tuple[list[bytes], NDArray[np.float32]]:
            tiles, status = normaliser(list(store.read(numbers)))
            return [chunk for tile in tiles for chunk in writer.encode(tile)], status

        parts = np.split(np.arange(store.n_tiles), range(_AT_ONCE, store.n_tiles, _AT_ONCE))
        parts = parts if store.n_tiles else []
        done = in_order(work, parts, threads, waiting=threads)
        for numbers, (chunks, status) in zip(parts, done, strict=True):
            writer.put_encoded(numbers, chunks)
            statuses[numbers] = status
            tick(len(numbers), store.slide_id)
        quality = {**store.quality, STAIN_STATUS: statuses}
        writer.finish(store.coords, store.tissue_fraction, store.label, quality)


def _attributes(
    store: TileStore, normaliser: TileNormaliser, encoding: Encoding
) -> Mapping[str, Any]:
    kept = {name: value for name, value in store.attributes.items() if name not in _WRITERS_OWN}
    inputs = (kept.get("provenance") or {}).get("inputs") or {}
    warning = normaliser.warning
    return kept | {
        STAIN_APPLIED: normaliser.applied,
        "pixel_path": "store",
        "pixel_path_reason": "normalised from a store (wsi-specdec stain apply)",
        "jpeg_quality": encoding.jpeg_quality if encoding.of(store) == "jpeg" else None,
        "warnings": [*kept.get("warnings", ()), *([warning] if warning else [])],
        "params_sha256": restained_params(store, normaliser.target, encoding),
        "provenance": provenance({**inputs, "store": str(kept.get("params_sha256"))}),
    }
