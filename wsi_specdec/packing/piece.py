"""One image, from its file to an encoded tile, in a worker process."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import cv2

from wsi_specdec.config import PackConfig
from wsi_specdec.errors import ImageError, StoreError
from wsi_specdec.files import atomic_path, fingerprint
from wsi_specdec.images import open_image
from wsi_specdec.packing.patients import pseudonym
from wsi_specdec.packing.square import to_square
from wsi_specdec.runner import TaskResult
from wsi_specdec.store import PackedStoreWriter

_PIECE_SUFFIX: Final = ".piece"
_LENGTH_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Known:
    """What a former run found out about an image, for as long as its file stays the same."""

    fingerprint: str
    params_sha256: str


@dataclass(frozen=True, slots=True)
class PieceJob:
    """All that a worker process needs to pack one image.

    Attributes
    ----------
    path
        The image.
    piece
        Where its encoded tile goes until the store is written.
    config
        Settings.
    params_sha256
        Of the settings that shape the tile.
    salt
        Secret that turns the header's patient into a pseudonym; None where the patient is known.
    stored
        What the store of a former run says of it, None where it is not in one.
    """

    path: Path
    piece: Path
    config: PackConfig
    params_sha256: str
    salt: bytes | None = None
    stored: Known | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """An image ready to be stored, and what its file says of it.

    `patient` is a pseudonym, None where the header names none or was not `asked`.
    """

    fingerprint: str
    params_sha256: str
    width: int
    height: int
    asked: bool
    patient: str | None
    view: str | None
    chunk: bytes


def piece_path(folder: Path, image_id: str) -> Path:
    """Path of an image's piece."""
    return folder / f"{image_id}{_PIECE_SUFFIX}"


def pack_image(job: PieceJob) -> TaskResult:
    """Make an image's piece, unless it is there, or is in the store, of the same file and settings.

    Raises
    ------
    ImageError
        If the image cannot be used.
    """
    # Threads are shared out by the runner's settings.
    cv2.setNumThreads(1)
    if not job.path.is_file():
        msg = f"no such image: {job.path}"
        raise ImageError(msg)
    now = Known(fingerprint(job.path), job.params_sha256)
    if job.stored == now:
        # One of another content, if any, is of a run that was killed.
        job.piece.unlink(missing_ok=True)
        return TaskResult("done", tiles=1, reused=True)
    if _is_piece(job, now):
        return TaskResult("done", tiles=1, reused=True)
    picture = open_image(job.path, burnt_in=job.config.burnt_in)
    config = job.config
    tile = to_square(picture, config.size, config.fit, config.fill)
    named = picture.patient_id is not None and job.salt is not None
    height, width = picture.pixels.shape[:2]
    write_piece(
        job.piece,
        Piece(
            fingerprint=now.fingerprint,
            params_sha256=job.params_sha256,
            width=width,
            height=height,
            asked=job.salt is not None,
            patient=pseudonym(picture.patient_id or "", job.salt or b"") if named else None,
            view=picture.view,
            chunk=PackedStoreWriter.encoder(config.codec, config.jpeg_quality)(tile),
        ),
    )
    return TaskResult("done", tiles=1)


def write_piece(path: Path, piece: Piece) -> None:
    """Write a piece: the length of a JSON header, that header, the encoded tile."""
    values = asdict(piece)
    chunk = values.pop("chunk")
    header = json.dumps(values).encode()
    with atomic_path(path) as temporary:
        temporary.write_bytes(len(header).to_bytes(_LENGTH_BYTES, "little") + header + chunk)


def read_piece(path: Path) -> Piece:
    """Read a piece.

    Raises
    ------
    StoreError
        If it is missing or damaged.
    """
    try:
        data = path.read_bytes()
        start = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
        values: dict[str, Any] = json.loads(data[_LENGTH_BYTES:start])
        return Piece(**values, chunk=data[start:])
    except (OSError, ValueError, TypeError) as error:
        msg = f"{path} cannot be read back ({error}): run the same command again"
        raise StoreError(msg) from error


def _is_piece(job: PieceJob, now: Known) -> bool:
    if not job.piece.is_file():
        return False
    try:
        piece = read_piece(job.piece)
    except StoreError:
        # Torn: made anew.
        return False
    same = now == Known(piece.fingerprint, piece.params_sha256)
    return same and piece.asked == (job.salt is not None)
