"""Config files and flags to models, and back."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from wsi_specdec.config.base import StageConfig
from wsi_specdec.config.studies import AnyStudy, StudyConfig
from wsi_specdec.config.whole import AnyConfig, DemoConfig
from wsi_specdec.errors import ConfigError

T = TypeVar("T")
ConfigT = TypeVar("ConfigT", bound=StageConfig)
StudyT = TypeVar("StudyT", bound=StudyConfig | DemoConfig)


def load_config(path: Path) -> AnyConfig:
    """Read the file of a pipeline; relative paths in it are taken from the working directory.

    Raises
    ------
    ConfigError
        If the file is missing, is not YAML, has a wrong or unknown key (all are listed), or is
        that of a study.
    """
    config = load_any(path)
    if isinstance(config, StudyConfig):
        msg = f"{path} is the file of a study: run it by `wsi-specdec study {path}`"
        raise ConfigError(msg)
    return config


def load_any(path: Path) -> AnyConfig | AnyStudy:
    """Read the file of a pipeline or of a study.

    Raises
    ------
    ConfigError
        If the file is missing, is not YAML, or has a wrong or unknown key (all are listed).
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        msg = f"cannot read the config {path}: {error}"
        raise ConfigError(msg) from error
    if not isinstance(values, dict):
        msg = f"{path} holds no settings; start from a file in pipelines/"
        raise ConfigError(msg)
    values.setdefault("kind", "pipeline")
    adapter: TypeAdapter[AnyConfig | AnyStudy] = TypeAdapter(
        Annotated[AnyConfig | AnyStudy, Field(discriminator="kind")]
    )
    return _validated(lambda: adapter.validate_python(values), str(path))


def make_config(model: type[ConfigT], values: dict[str, Any], source: str) -> ConfigT:
    """Build one stage's config from flags.

    Raises
    ------
    ConfigError
        If a value is wrong; the message names `source`, the setting and the rule.
    """
    return _validated(lambda: model.model_validate(values), source)


def full_size(config: StudyT) -> StudyT:
    """Lay the settings under `full` of a study over the others, section by section.

    Raises
    ------
    ConfigError
        If one of them is wrong.
    """
    values = _laid_over(config.model_dump(exclude={"full"}), config.full)
    return make_config(type(config), values, "full")


def _laid_over(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(values)
    for name, value in changes.items():
        inner = out.get(name)
        if isinstance(inner, Mapping) and isinstance(value, Mapping):
            out[name] = _laid_over(inner, value)
        else:
            out[name] = value
    return out


def override(config: ConfigT, assignments: Sequence[str]) -> ConfigT:
    """Change settings by assignments such as `tile.mpp=4` or `seeds=[0, 1]` (values are YAML).

    Raises
    ------
    ConfigError
        If an assignment is no assignment, names no section, or its value is wrong.
    """
    values = config.model_dump()
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        *sections, name = path.strip().split(".")
        place = values
        for section in sections:
            inner = place.get(section)
            if not isinstance(inner, dict):
                msg = f"--set {assignment}: there is no section {section!r} in {sorted(place)}"
                raise ConfigError(msg)
            place = inner
        if not equals or not name:
            msg = f"--set {assignment}: write it as SECTION.NAME=VALUE, for one tile.mpp=1.0"
            raise ConfigError(msg)
        place[name] = yaml.safe_load(text)
    return make_config(type(config), values, "--set")


def dump_config(config: StageConfig) -> str:
    """Render a config as YAML that `load_config` reads back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _validated(build: Callable[[], T], source: str) -> T:
    try:
        return build()
    except ValidationError as error:
        lines = [
            f"  {'.'.join(str(part) for part in item['loc']) or 'config'}: {item['msg']}"
            f" (got {item['input']!r})"
            for item in error.errors()
        ]
        msg = f"{source}:\n" + "\n".join(lines)
        raise ConfigError(msg) from error


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """List the settings in which two nested mappings differ, as `tile.mpp: 4.0 -> 2.0`.

    >>> differences({"tile": {"mpp": 4.0, "overlap": 0}}, {"tile": {"mpp": 2.0, "overlap": 0}})
    ['tile.mpp: 4.0 -> 2.0']
    """
    found: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key, "unset"), new.get(key, "unset")
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append(f"{prefix}{key}: {before} -> {after}")
    return found
