"""What tiles are normalised to, and how files say that they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wsi_specdec.config import StainConfig, make_config
from wsi_specdec.errors import ConfigError, StoreError
from wsi_specdec.files import read_json, sha256_of, write_json
from wsi_specdec.keys import SCHEMA_VERSION, STAIN_APPLIED
from wsi_specdec.stain.profile import StainProfile

NOT_APPLIED: Final = "none"


@dataclass(frozen=True, slots=True)
class StainTarget:
    """A profile to reach, and the settings by which slides' own profiles are fitted beside it.

    Attributes
    ----------
    profile
        Of the reference slides; of the method that `settings` names.
    settings
        A slide's profile that was fitted by others would not go with this target.
    """

    profile: StainProfile
    settings: StainConfig

    @property
    def sha256(self) -> str:
        """Hash of all that shapes normalised pixels, but for the slide's own."""
        return sha256_of(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Return the target as JSON types."""
        return {
            "profile": self.profile.to_json(),
            "settings": self.settings.model_dump(mode="json"),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any], source: str) -> "StainTarget":
        """Read back what `to_json` gave; `source` is what an error calls it.

        Raises
        ------
        ConfigError
            If the settings are not known here, or name another method than the profile.
        KeyError, TypeError, ValueError
            If it is no target at all.
        """
        profile = StainProfile.from_json(values["profile"])
        settings = make_config(StainConfig, dict(values["settings"]), source)
        if profile.method != settings.method:
            msg = f"{source}: a profile by {profile.method} and settings of {settings.method}"
            raise ConfigError(msg)
        return cls(profile, settings)


def write_target(path: Path, target: StainTarget, made_from: Mapping[str, Any]) -> None:
    """Write a target as the JSON that `read_target` reads, with what it was made from."""
    values = {"schema_version": SCHEMA_VERSION, "sha256": target.sha256}
    write_json(path, values | target.to_json() | {"made_from": dict(made_from)})


def read_target(path: Path) -> StainTarget:
    """Read a target that `wsi-specdec stain fit` wrote.

    Raises
    ------
    ConfigError
        If the file is missing, or holds no usable target.
    """
    try:
        target = StainTarget.from_json(read_json(path), str(path))
    except ConfigError:
        raise
    except (OSError, ValueError, TypeError, KeyError) as error:
        msg = (
            f"{path} cannot be read as the target of stain normalisation "
            f"({type(error).__name__}: {error}); make one with `wsi-specdec stain fit`"
        )
        raise ConfigError(msg) from error
    if target.profile.status != "ok":
        msg = f"{path} holds a profile that cannot be a target: {target.profile.status}"
        raise ConfigError(msg)
    return target


def described(target: StainTarget, status: str) -> dict[str, Any]:
    """Describe what was done to a store's tiles: the attribute `stain_applied`.

    Parameters
    ----------
    status
        `normalised`, or why the slide's tiles are as they were; `each_tile` where every tile has
        a status of its own.
    """
    return {
        "method": target.profile.method,
        "status": status,
        "target_sha256": target.sha256,
        "target": target.to_json(),
    }


def applied_target(attributes: Mapping[str, Any]) -> StainTarget | None:
    """Return what a store's tiles were normalised to, None where they are as in the slide.

    Raises
    ------
    StoreError
        If the store's attribute cannot be understood.
    """
    applied = attributes.get(STAIN_APPLIED, NOT_APPLIED)
    if applied == NOT_APPLIED:
        return None
    name = attributes.get("slide_id")
    try:
        return StainTarget.from_json(applied["target"], f"the store of {name}")
    except (ValueError, TypeError, KeyError) as error:
        msg = (
            f"the attribute {STAIN_APPLIED} of the store of {name} is not as this version writes "
            f"it ({error}); tile the slide again"
        )
        raise StoreError(msg) from error


def applied_status(attributes: Mapping[str, Any]) -> str:
    """Return the status that a normalised store states."""
    return str(attributes[STAIN_APPLIED]["status"])
