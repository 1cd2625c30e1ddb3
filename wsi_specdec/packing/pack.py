"""Many images to one packed store, resumed by what their settings and files hash to."""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from wsi_specdec.cohort import read_manifest, write_manifest
from wsi_specdec.config import PackConfig, RunnerConfig, differences, make_config
from wsi_specdec.errors import ConfigError, SettingsMismatchError, StoreError
from wsi_specdec.files import read_json, remove_partials, sha256_of, write_json
from wsi_specdec.images import is_dicom
from wsi_specdec.keys import (
    MANIFEST_FILE,
    PACK_CONFIG_FILE,
    PIECES_DIR,
    SCHEMA_VERSION,
    TILE_CONFIG_FILE,
    TILES_DIR,
    UNKNOWN_LABEL,
)
from wsi_specdec.packing.listing import Entry, Listing
from wsi_specdec.packing.manifest import manifest_of
from wsi_specdec.packing.patients import is_pseudonym, read_salt
from wsi_specdec.packing.piece import Known, PieceJob, pack_image, piece_path, read_piece
from wsi_specdec.provenance import provenance
from wsi_specdec.runner import Ledger, LedgerSummary, Task, run_over_slides
from wsi_specdec.store import (
    PackedIndex,
    PackedStoreWriter,
    TileStore,
    encoded_tile,
    open_store,
    packed_attributes,
    read_index,
    store_path,
)

STORE_NAME: Final = "images"
_PARAMS: Final = "params_sha256"


@dataclass(frozen=True, slots=True)
class _Former:
    """The store of a former run with the same settings."""

    store: TileStore
    index: PackedIndex
    row: Mapping[str, int]

    def known(self, entry: Entry) -> Known | None:
        """Return what it says of an image, None where that does not hold any longer."""
        row = self.row.get(entry.slide.slide_id)
        if row is None:
            return None
        patient, own = self.index.patient_id[row], entry.slide.slide_id
        if not (entry.patient_known or patient == own or is_pseudonym(patient)):
            # The patient was stated and is no longer: the header is asked.
            return None
        return Known(self.index.fingerprint[row], str(self.store.attributes[_PARAMS]))


def pack_images(
    listing: Listing,
    out: Path,
    config: PackConfig,
    runner: RunnerConfig,
    *,
    overwrite: bool = False,
) -> LedgerSummary:
    """Pack images into one store, and write the manifest and the ledger.

    The same call again does only what is missing: an image of the same file and settings is not
    read a second time. An image that fails costs itself alone.

    Parameters
    ----------
    listing
        The images, and the names of their classes.
    out
        Output folder: `tiles/images.zarr`, `slides.csv`, `ledger.csv`, `pack.json`, and
        `patient.salt` where DICOM headers name patients.
    config
        Settings.
    runner
        Number of processes, and limits.
    overwrite
        Pack every image anew, also where `out` was packed with other settings.

    Raises
    ------
    ConfigError
        If `out` holds tiled slides, another process is packing into it, or the secret of the
        pseudonyms cannot be used.
    SettingsMismatchError
        If `out` was packed with other settings and `overwrite` is not set.
    LeakError
        If a patient, by the images' headers, stands in two splits. No store is written then.
    """
    with Ledger(out) as ledger:
        _claim(out, config, overwrite=overwrite)
        salt = _salt(listing, out, config)
        params = _params(config, salt)
        former = None if overwrite else _former(out, params)
        pieces = out / PIECES_DIR
        tasks = [
            Task(
                entry.slide.slide_id,
                PieceJob(
                    path=entry.slide.path.absolute(),
                    piece=piece_path(pieces.absolute(), entry.slide.slide_id),
                    config=config,
                    params_sha256=params,
                    salt=None if entry.patient_known else salt,
                    stored=former.known(entry) if former else None,
                ),
                params,
            )
            for entry in listing.entries
        ]
        if overwrite:
            shutil.rmtree(pieces, ignore_errors=True)
        summary = run_over_slides(
            pack_image, tasks, ledger=ledger, runner=runner, title="pack images"
        )
        failed = {slide_id for slide_id, _ in (*summary.failures, *summary.skipped)}
    packed = [entry for entry in listing.entries if entry.slide.slide_id not in failed]
    _finish(out, listing, packed, config, params, former)
    shutil.rmtree(pieces, ignore_errors=True)
    return summary


def _claim(out: Path, config: PackConfig, *, overwrite: bool) -> None:
    """Refuse a folder of other settings, and write those of this run."""
    if (out / TILE_CONFIG_FILE).exists():
        msg = f"{out} holds tiled slides: choose another --out for packed images"
        raise ConfigError(msg)
    for folder in (out / TILES_DIR, out / PIECES_DIR):
        if folder.is_dir():
            remove_partials(folder)
    settings, values = out / PACK_CONFIG_FILE, config.model_dump(mode="json")
    if store_path(out, STORE_NAME).exists() and settings.is_file() and not overwrite:
        former = make_config(PackConfig, read_json(settings), str(settings)).shaping()
        if differing := differences(former, config.shaping()):
            msg = (
                f"{out} holds images packed with other settings: {'; '.join(differing)}. Choose "
                "another --out, or replace them with --overwrite"
            )
            raise SettingsMismatchError(msg)
    write_json(settings, values)


def _salt(listing: Listing, out: Path, config: PackConfig) -> bytes | None:
    """Read the secret, where there is an image whose header is asked for its patient."""
    asked = (entry.slide.path for entry in listing.entries if not entry.patient_known)
    return read_salt(out, config.salt) if any(map(is_dicom, asked)) else None


def _params(config: PackConfig, salt: bytes | None) -> str:
    """Hash whatever shapes what is stored of an image, but for its file."""
    secret = None if salt is None else hashlib.sha256(salt).hexdigest()
    return sha256_of({"schema_version": SCHEMA_VERSION, "pack": config.shaping(), "salt": secret})


def _former(out: Path, params: str) -> _Former | None:
    try:
        store = open_store(store_path(out, STORE_NAME))
        index = read_index(store)
    except StoreError:
        # Missing or damaged: made anew.
        return None
    if store.attributes.get(_PARAMS) != params:
        return None
    return _Former(store, index, {name: row for row, name in enumerate(index.image_id)})


def _finish(
    out: Path,
    listing: Listing,
    packed: Sequence[Entry],
    config: PackConfig,
    params: str,
    former: _Former | None,
) -> None:
    """Write the manifest and, where it is not there as it should be, the store."""
    found = _index(packed, out / PIECES_DIR, former)
    former_rows = read_manifest(out / MANIFEST_FILE) if (out / MANIFEST_FILE).is_file() else []
    slides = manifest_of(listing, found, config, former_rows)
    attributes = packed_attributes(
        STORE_NAME,
        size=config.size,
        classes=listing.classes,
        params_sha256=params,
        mpp=config.mpp,
        jpeg_quality=config.jpeg_quality if config.codec == "jpeg" else None,
        fit=config.fit,
    )
    label = [UNKNOWN_LABEL if entry.label is None else entry.label for entry in packed]
    path = store_path(out, STORE_NAME)
    if not packed:
        shutil.rmtree(path, ignore_errors=True)
    elif former is None or not _is_same(former, found, label, attributes):
        _write(path, packed, found, label, config, (attributes, out / PIECES_DIR, former))
    write_manifest(slides, out / MANIFEST_FILE)


def _index(packed: Sequence[Entry], pieces: Path, former: _Former | None) -> PackedIndex:
    """Put together who the images are, from their pieces, or from the former store."""
    names = sorted({name for entry in packed for name in entry.groups})
    columns: dict[str, list[str]] = {name: [] for name in ("view", "site", *names)}
    patients, marks, sizes = [], [], []
    for entry in packed:
        slide = entry.slide
        path = piece_path(pieces, slide.slide_id)
        if path.is_file() or former is None:
            piece = read_piece(path)
            mark, size, view = piece.fingerprint, (piece.width, piece.height), piece.view
            patient = piece.patient or slide.slide_id
        else:
            row, index = former.row[slide.slide_id], former.index
            mark, view = index.fingerprint[row], index.group["view"][row]
            size = tuple(index.image_size[row].tolist())
            patient = index.patient_id[row]
        patients.append(slide.patient_id if entry.patient_known else patient)
        marks.append(mark)
        sizes.append(size)
        known = {"view": slide.view or view or "", "site": slide.site or "", **entry.groups}
        for name, texts in columns.items():
            texts.append(known.get(name, ""))
    return PackedIndex(
        image_id=[entry.slide.slide_id for entry in packed],
        patient_id=patients,
        fingerprint=marks,
        image_size=np.array(sizes, np.int64).reshape(-1, 2),
        group=columns,
    )


def _is_same(
    former: _Former, found: PackedIndex, label: Sequence[int], attributes: Mapping[str, Any]
) -> bool:
    """Whether the former store holds just these images and says the same of them."""
    index, store = former.index, former.store
    return (
        list(index.image_id) == list(found.image_id)
        and list(index.fingerprint) == list(found.fingerprint)
        and list(index.patient_id) == list(found.patient_id)
        and {name: list(texts) for name, texts in index.group.items()}
        == {name: list(texts) for name, texts in found.group.items()}
        and store.label.tolist() == list(label)
        and all(store.attributes.get(name) == value for name, value in attributes.items())
    )


def _write(
    path: Path,
    packed: Sequence[Entry],
    found: PackedIndex,
    label: Sequence[int],
    config: PackConfig,
    source: tuple[dict[str, Any], Path, _Former | None],
) -> None:
    attributes, pieces, former = source
    with PackedStoreWriter(
        path,
        n_tiles=len(packed),
        tile_size=config.size,
        codec=config.codec,
        jpeg_quality=config.jpeg_quality,
        attributes={**attributes, "provenance": provenance(seed=config.seed)},
    ) as writer:
        for name in found.image_id:
            piece = piece_path(pieces, name)
            if piece.is_file() or former is None:
                writer.append_encoded([read_piece(piece).chunk])
            else:
                writer.append_encoded(encoded_tile(former.store, former.row[name]))
        writer.finish_packed(found, label)
