"""Pseudonyms of patients whom a DICOM header names."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Final

from wsi_specdec.errors import ConfigError
from wsi_specdec.keys import SALT_FILE

_BYTES: Final = 32
_LEAST: Final = 16
_SHOWN: Final = 16
_PREFIX: Final = "patient-"


def read_salt(out: Path, given: Path | None) -> bytes:
    """Read the secret that pseudonyms are made by, or make one in `out` that its owner can read.

    Raises
    ------
    ConfigError
        If it cannot be read, or is too short to be a secret.
    """
    path = given or out / SALT_FILE
    try:
        if given is None and not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as handle:
                handle.write(secrets.token_hex(_BYTES))
        salt = path.read_bytes()
    except OSError as error:
        msg = f"cannot read the secret of the pseudonyms {path}: {error.strerror}"
        raise ConfigError(msg) from error
    if len(salt) < _LEAST:
        msg = (
            f"{path} holds {len(salt)} bytes, and a secret needs {_LEAST} at least: remove it, and "
            "another one is made, or give another file (setting salt)"
        )
        raise ConfigError(msg)
    return salt


def pseudonym(patient_id: str, salt: bytes) -> str:
    """Name a patient by a keyed hash (HMAC-SHA-256, RFC 2104, cut to 64 bits)."""
    digest = hmac.new(salt, patient_id.encode(), hashlib.sha256)
    return _PREFIX + digest.hexdigest()[:_SHOWN]


def is_pseudonym(name: str) -> bool:
    """Whether a patient is named by a pseudonym."""
    return name.startswith(_PREFIX)
