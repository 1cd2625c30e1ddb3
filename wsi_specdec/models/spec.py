"""What a classifier is, beside its weights: enough to rebuild it and to feed it. No torch."""

from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import Field, ValidationError

from wsi_specdec.config import Positive, StageConfig, StainConfig
from wsi_specdec.errors import ModelError
from wsi_specdec.files import read_json, sha256_of, write_json
from wsi_specdec.keys import MODEL_FILE, SCHEMA_VERSION

MPP_TOLERANCE = 0.05
_SCHEMA_VERSION = "schema_version"
_WEIGHTS_SHA256 = "weights_sha256"


class ModelSpec(StageConfig):
    """A classifier of tiles.

    Attributes
    ----------
    arch, arch_args
        timm's name and arguments.
    classes
        Names of the classes; for two, the second is the positive one and the model has one output.
    tile_size
        Side of the tiles it takes, in pixels.
    mpp
        µm per pixel of the tiles it was trained on; None where unknown.
    mean, std
        Constants per channel by which pixels, as fractions of 255, are centred and scaled.
    stain, stain_target
        How stains are normalised, and the target profile (`StainProfile.to_json`), if they are.
    temperature
        What logits are divided by to become calibrated (Guo et al., arXiv 1706.04599).
    training
        Settings, data, metrics and provenance of the training; of no effect.
    """

    arch: str
    arch_args: dict[str, Any] = Field(default_factory=dict)
    classes: Annotated[tuple[str, ...], Field(min_length=2)] = ("normal", "tumour")
    tile_size: Annotated[int, Field(ge=8)]
    mpp: Positive | None = None
    mean: tuple[float, float, float]
    std: tuple[Positive, Positive, Positive]
    stain: StainConfig = Field(default_factory=StainConfig)
    stain_target: dict[str, Any] | None = None
    temperature: Positive = 1.0
    training: dict[str, Any] = Field(default_factory=dict)

    @property
    def n_outputs(self) -> int:
        """Number of logits: one for two classes, else one per class."""
        return 1 if len(self.classes) == 2 else len(self.classes)

    @property
    def score_names(self) -> tuple[str, ...]:
        """Class that each output scores; for two classes the positive one alone."""
        return self.classes[1:] if self.n_outputs == 1 else self.classes


class Tiles(Protocol):
    """What `check_fits` looks at: a tile store, or whatever else holds tiles of one slide."""

    @property
    def path(self) -> Path:
        """Where they are."""
        ...

    @property
    def tile_size(self) -> int:
        """Their side in pixels."""
        ...

    @property
    def mpp(self) -> float | None:
        """µm per pixel, None where unknown."""
        ...


def write_spec(folder: Path, spec: ModelSpec, weights_sha256: str) -> None:
    """Write `model.json`, which marks the model in `folder` as complete."""
    values = {_SCHEMA_VERSION: SCHEMA_VERSION, _WEIGHTS_SHA256: weights_sha256}
    write_json(folder / MODEL_FILE, values | spec.model_dump(mode="json"))


def read_spec(folder: Path) -> tuple[ModelSpec, str]:
    """Read a model's spec and the SHA-256 that its weights must have.

    Raises
    ------
    ModelError
        If `model.json` is missing, damaged, or of another version.
    """
    path = folder / MODEL_FILE
    try:
        values = dict(read_json(path))
        version = values.pop(_SCHEMA_VERSION)
        weights_sha256 = str(values.pop(_WEIGHTS_SHA256))
    except FileNotFoundError as error:
        msg = f"no model in {folder}: it has no {MODEL_FILE}; train one, or name another folder"
        raise ModelError(msg) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        msg = f"{path} cannot be read as a model's description: {error}"
        raise ModelError(msg) from error
    if version != SCHEMA_VERSION:
        msg = f"{path} has the schema version {version}, and this version reads {SCHEMA_VERSION}"
        raise ModelError(msg)
    try:
        return ModelSpec.model_validate(values), weights_sha256
    except ValidationError as error:
        first = error.errors()[0]
        msg = f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise ModelError(msg) from error


def load_spec(folder: Path) -> ModelSpec:
    """Read a model's spec; its weights are not looked at.

    Raises
    ------
    ModelError
        As `read_spec`.
    """
    return read_spec(folder)[0]


def model_sha256(folder: Path) -> str:
    """Hash of all that shapes a model's scores: weights, preprocessing, stain and temperature.

    Raises
    ------
    ModelError
        As `read_spec`.
    """
    spec, weights_sha256 = read_spec(folder)
    shaping = spec.model_dump(mode="json", exclude={"training"})
    return sha256_of(shaping | {_WEIGHTS_SHA256: weights_sha256})


def check_fits(spec: ModelSpec, store: Tiles, model: str) -> None:
    """Refuse tiles that a model was not made for.

    Parameters
    ----------
    model
        What the message calls the model, for one its folder.

    Raises
    ------
    ModelError
        If the size differs, or both mpp are known and differ by more than 5 %.
    """
    if store.tile_size != spec.tile_size:
        msg = (
            f"{model} takes tiles of {spec.tile_size} px and {store.path} holds tiles of "
            f"{store.tile_size} px; tile the slides with --tile-size {spec.tile_size}"
        )
        raise ModelError(msg)
    if spec.mpp is None or store.mpp is None:
        return
    if abs(store.mpp - spec.mpp) > MPP_TOLERANCE * spec.mpp:
        msg = (
            f"{model} takes tiles of {spec.mpp:.4g} µm per pixel and {store.path} holds tiles of "
            f"{store.mpp:.4g}; tile the slides with --mpp {spec.mpp:.4g}"
        )
        raise ModelError(msg)
