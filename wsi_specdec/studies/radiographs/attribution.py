"""What of an image a network's answer goes by: integrated gradients, and their share in a mask.

Integrated gradients (Sundararajan et al., arXiv:1703.01365, as captum computes them) share out the
difference between a network's logit for an image and for a baseline among the image's pixels: what
they give sums to that difference (completeness), at the resolution of the image, for any network
that has gradients. Maps of the last layer's activations (Grad-CAM) would have two or three cells
across images as small as these, and could not tell a lung from its surroundings. The baseline is
the mean of the training images: with a black one dark pixels, which lungs are, would get nothing
whatever the network does with them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from wsi_specdec.config import EvaluateConfig
from wsi_specdec.errors import ModelError
from wsi_specdec.files import atomic_path, sha256_of
from wsi_specdec.keys import TRAIN
from wsi_specdec.metrics import bootstrap_interval, bootstrap_p, draw_plan, holm
from wsi_specdec.models import load_model, model_sha256, standardise
from wsi_specdec.studies.grid import Fitted
from wsi_specdec.studies.pool import in_processes
from wsi_specdec.studies.radiographs.sets import Fields
from wsi_specdec.studies.sets.files import open_set, read_truth

MAPS_FILE: Final = "attribution.npz"
# Images whose paths to the baseline go through the network together.
_BATCH: Final = 8

Floats = NDArray[np.float64]
Tiles = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """The images of one cohort and class that are explained.

    Attributes
    ----------
    cohort, label
        Whose images they are.
    folder, rows
        Their set, and their numbers in it, int64 (k,).
    mask
        Lung fields, bool (k, T, T).
    found
        Whether these were found, bool (k,).
    patient
        Code 0 … of each image's patient, int64 (k,).
    """

    cohort: str
    label: int
    folder: Path
    rows: NDArray[np.int64]
    mask: NDArray[np.bool_]
    found: NDArray[np.bool_]
    patient: NDArray[np.int64]

    @property
    def name(self) -> str:
        """Name of cohort and class in files."""
        return f"{self.cohort}:{self.label}"

    @property
    def outside(self) -> float:
        """Mean share of the images' area that lies outside of the fields, where these were found.

        What the share of attribution would be, were it spread evenly.
        """
        return float(1 - self.mask[self.found].mean()) if self.found.any() else float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """Attribution of one model.

    Attributes
    ----------
    maps
        By `Shown.name`: the mean over images of the absolute attribution, each image's summing to
        1, float64 (T, T).
    outside
        By `Shown.name`: share of each image's absolute attribution outside the fields, (k,).
    """

    maps: Mapping[str, Floats]
    outside: Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds and images, its interval over seeds and patients, and p of its being 0."""

    value: float
    low: float | None
    high: float | None
    p: float | None = None


def choose_shown(
    cohort: str, folder: Path, fields: Fields, limit: int, seed: int = 0
) -> list[Shown]:
    """Draw the images of a cohort that are explained, as many of each class where there are.

    Parameters
    ----------
    folder
        The cohort's set.
    fields
        Of its images.
    limit
        Images at most.
    seed
        Of the draw.

    Returns
    -------
    Of each class that has images.
    """
    truth = read_truth(folder)
    labels = [label for label in (0, 1) if (truth.label == label).any()]
    shown = []
    for label in labels:
        own = np.flatnonzero(truth.label == label)
        drawn = np.random.default_rng([seed, label]).permutation(own)[: limit // len(labels)]
        rows = np.sort(drawn).astype(np.int64)
        patients = np.array([truth.patient[row] for row in rows], np.str_)
        codes = np.unique(patients, return_inverse=True)[1].astype(np.int64)
        mask, found = fields.mask[rows], fields.found[rows]
        shown.append(Shown(cohort, label, folder, rows, mask, found, codes))
    return shown


def explain_all(
    fitted: Sequence[Fitted], shown: Mapping[str, Sequence[Shown]], steps: int, workers: int
) -> list[Explained]:
    """Explain models, each on the images of its own sets; what was explained before is kept.

    Parameters
    ----------
    fitted
        The models.
    shown
        By the arm's name, what is explained.
    steps
        Points on the path from the baseline to an image.
    workers
        Processes at a time.
    """
    jobs = [_Job(each, tuple(shown[each.method.arm]), steps) for each in fitted]
    return in_processes(_explain, jobs, workers, "attribution")


def attribute(
    folder: Path, tiles: Tiles, baseline: NDArray[np.float32], steps: int, device: str = "cpu"
) -> NDArray[np.float32]:
    """Compute integrated gradients of a model's logit, summed over an image's channels.

    Parameters
    ----------
    folder
        Of a model of two classes.
    tiles
        uint8, (n, T, T, 3).
    baseline
        float32, (T, T, 3), 0 to 255.
    steps
        Points of the Gauss-Legendre quadrature.

    Returns
    -------
    float32, (n, T, T); its sum over an image is the logit of the image less that of the baseline,
    but for the error of the quadrature.

    Raises
    ------
    ModelError
        If the model cannot be loaded, has more than one logit, or normalises stains.
    """
    from captum.attr import IntegratedGradients

    module, spec = load_model(folder, device)
    if spec.n_outputs != 1 or spec.stain.method != "none":
        msg = f"{folder} has several logits or normalises stains: its maps cannot be computed"
        raise ModelError(msg)
    place = next(module.parameters()).device
    explainer = IntegratedGradients(lambda pixels: module(pixels)[:, 0])

    def taken(pixels: NDArray[Any]) -> torch.Tensor:
        values = torch.from_numpy(np.ascontiguousarray(pixels, np.float32)).to(place)
        return standardise(values.permute(0, 3, 1, 2) / 255, spec)

    start = taken(baseline[None])
    parts = []
    for first in range(0, len(tiles), _BATCH):
        pixels = taken(tiles[first : first + _BATCH])
        given = explainer.attribute(pixels, start.expand_as(pixels), n_steps=steps)
        parts.append(given.sum(dim=1).detach().cpu().numpy().astype(np.float32))
    return np.concatenate(parts)


def mean_image(training: Path) -> NDArray[np.float32]:
    """Mean of a set's images of the split `train`: float32, (T, T, 3)."""
    store = open_set(training)
    rows = np.flatnonzero(np.array(read_truth(training).split) == TRAIN).astype(np.int64)
    total = np.zeros((store.tile_size, store.tile_size, 3))
    for part in np.array_split(rows, max(1, len(rows) // 256)):
        total += store.read(part).sum(axis=0, dtype=np.float64)
    return (total / len(rows)).astype(np.float32)


def outside_share(attribution: NDArray[np.floating], mask: NDArray[np.bool_]) -> Floats:
    """Share of the absolute attribution outside of masks: (n, T, T) and (n, T, T) to (n,).

    An image without any attribution counts as one whose attribution is spread evenly.

    >>> outside_share(np.array([[[1.0, -3.0]]]), np.array([[[True, False]]]))
    array([0.75])
    """
    return np.asarray((_spread(attribution) * ~mask).sum(axis=(1, 2)))


def _spread(attribution: NDArray[np.floating]) -> Floats:
    """Absolute attribution (n, T, T), brought to a sum of 1 in each image."""
    size = np.abs(attribution.astype(np.float64))
    size[size.sum(axis=(1, 2)) == 0] = 1.0
    return np.asarray(size / size.sum(axis=(1, 2), keepdims=True))


def estimate_mean(
    values: Floats, patients: NDArray[np.int64], config: EvaluateConfig, *, test: bool = False
) -> Estimate:
    """Mean over seeds and images, with a BCa interval over seeds and patients.

    Parameters
    ----------
    values
        (S, n), a row per seed; a difference of two arms is paired so.
    patients
        Code 0 … of each image's patient, (n,).
    config
        Resamples, confidence and seed.
    test
        Whether to test that the mean is 0.
    """
    codes = np.unique(patients, return_inverse=True)[1]
    counts = np.bincount(codes).astype(np.float64)
    sums = np.stack([np.bincount(codes, weights=row) for row in values])  # (S, C)
    plan = draw_plan(len(counts), len(values), config.bootstrap, config.seed)
    drawn = np.einsum("rs,sc,rc->r", plan.seeds, sums, plan.patients)
    replicates = drawn / (plan.patients @ counts)
    total = sums.mean(axis=0)
    value = float(total.sum() / counts.sum())
    left = np.full(len(counts), np.nan)
    if len(counts) > 1:
        left = (total.sum() - total) / (counts.sum() - counts)
    found = bootstrap_interval(value, replicates, left, config.confidence)
    p = bootstrap_p(value, replicates, left) if test else None
    return Estimate(value, found.low, found.high, p)


def summarise(
    by_arm: Mapping[str, Sequence[Explained]],
    shown: Mapping[str, Sequence[Shown]],
    pairs: Sequence[tuple[str, str]],
    config: EvaluateConfig,
) -> dict[str, Any]:
    """Put together the share of attribution outside the lung fields, by arm, cohort and class.

    Images whose fields were not found are left out.

    Parameters
    ----------
    by_arm
        What each arm's models, one of each seed in the same order, go by.
    shown
        By arm, the images.
    pairs
        Arms that are compared: an arm and its baseline, whose images are cut alike.
    config
        Of the intervals.

    Returns
    -------
    `shares` and `differences`, rows of plain values; p-values are adjusted by Holm within a cohort
    and class.
    """
    shares: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    for arm, explained in by_arm.items():
        for each in shown[arm]:
            if each.found.any():
                values, patients = _measured(explained, each)
                row = {"arm": arm, "cohort": each.cohort, "label": each.label}
                counts = {"images": int(each.found.sum()), "patients": len(np.unique(patients))}
                estimate = asdict(estimate_mean(values, patients, config))
                shares.append(row | counts | {"area_outside": each.outside} | estimate)
    for name in dict.fromkeys(each.name for arm in by_arm for each in shown[arm]):
        tried = [_difference(name, pair, by_arm, shown, config) for pair in pairs]
        found = [row for row in tried if row is not None]
        for compared, p in zip(found, holm([each["p"] for each in found]), strict=True):
            differences.append(compared | {"p_holm": p})
    return {"shares": shares, "differences": differences}


def _difference(
    name: str,
    pair: tuple[str, str],
    by_arm: Mapping[str, Sequence[Explained]],
    shown: Mapping[str, Sequence[Shown]],
    config: EvaluateConfig,
) -> dict[str, Any] | None:
    arm, baseline = pair
    each = next((s for s in shown[arm] if s.name == name and s.found.any()), None)
    if each is None:
        return None
    values, patients = _measured(by_arm[arm], each)
    less = values - _measured(by_arm[baseline], each)[0]
    row = {"arm": arm, "baseline": baseline, "cohort": each.cohort, "label": each.label}
    return row | asdict(estimate_mean(less, patients, config, test=True))


def _measured(explained: Sequence[Explained], shown: Shown) -> tuple[Floats, NDArray[np.int64]]:
    """Shares of the images whose fields were found, (S, m), and their patients, (m,)."""
    values = np.stack([each.outside[shown.name][shown.found] for each in explained])
    return values, shown.patient[shown.found]


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    fitted: Fitted
    shown: tuple[Shown, ...]
    steps: int

    def key(self) -> str:
        """Hash all that its maps come from."""
        images = [
            [s.name, str(open_set(s.folder).attributes.get("params_sha256")), s.rows.tolist()]
            for s in self.shown
        ]
        masks = [[np.packbits(s.mask).tobytes().hex(), s.found.tolist()] for s in self.shown]
        model = model_sha256(self.fitted.model)
        return sha256_of({"model": model, "images": images, "masks": masks, "steps": self.steps})


def _explain(job: _Job) -> Explained:
    path, key = job.fitted.folder / MAPS_FILE, job.key()
    kept = _read(path, key)
    if kept is not None:
        return kept
    compute = partial(
        attribute,
        job.fitted.model,
        baseline=mean_image(job.fitted.method.training),
        steps=job.steps,
        device=job.fitted.method.train.device,
    )
    maps, outside = {}, {}
    for shown in job.shown:
        given = compute(tiles=open_set(shown.folder).read(shown.rows))
        outside[shown.name] = outside_share(given, shown.mask)
        maps[shown.name] = _spread(given).mean(axis=0)
    arrays = {f"map:{name}": each.astype(np.float32) for name, each in maps.items()}
    arrays |= {f"outside:{name}": each for name, each in outside.items()}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, key=np.array(key), **arrays)
    return Explained(maps, outside)


def _read(path: Path, key: str) -> Explained | None:
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as kept:
        if str(kept["key"]) != key:
            return None
        parts: dict[str, dict[str, Floats]] = {"map": {}, "outside": {}}
        for full in kept.files:
            kind, colon, name = full.partition(":")
            if colon:
                parts[kind][name] = kept[full].astype(np.float64)
    return Explained(parts["map"], parts["outside"])
