"""What models hold of two things at once: their logits, and what a probe reads from their features.

A model that took a shortcut may still hold what it did not use. Two linear probes on the features
before the last layer tell how well the class and the mark can be read from them, on images where
one says nothing of the other (after Alain and Bengio, arXiv 1610.01644).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from wsi_specdec.config import EvaluateConfig
from wsi_specdec.errors import ModelError, NotEnoughDataError
from wsi_specdec.evaluation import pairs_of
from wsi_specdec.metrics import (
    Resampled,
    Sample,
    delong_difference,
    holm,
    measure,
    method_name,
    plan_for,
    resample,
)
from wsi_specdec.models import Predictor, load_model
from wsi_specdec.studies.pool import in_processes
from wsi_specdec.studies.sets.files import open_set

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

CLASS: Final = "class"
MARK: Final = "mark"
QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
_BATCH: Final = 128
_BINS: Final = 24
# Inverse strength of the probe's L2 penalty on standardised features, alike for all arms.
_PROBE_C: Final = 0.1
_PROBE_STEPS: Final = 5000


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What one model makes of images.

    Attributes
    ----------
    logits
        float32, (n,), of the positive class.
    features
        float32, (n, D): what the last layer takes.
    """

    logits: Floats
    features: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Probed:
    """Images where the mark says nothing of the class, and who they are of.

    Attributes
    ----------
    label
        0 or 1, int64, (n,).
    mark
        bool, (n,).
    patient
        Codes, int64, (n,).
    """

    label: NDArray[np.int64]
    mark: Bools
    patient: NDArray[np.int64]


def see_all(models: Sequence[tuple[Path, Path]], workers: int, device: str = "auto") -> list[Seen]:
    """Run models of two classes over sets of images.

    Parameters
    ----------
    models
        Pairs of a model's folder and a set's.
    workers
        Processes at a time, each with one thread, as the models were trained; one alone is this.
    device
        What they run on.

    Raises
    ------
    ModelError
        If a model has more outputs than one, or its network has no embeddings.
    StoreError
        If a set has no images.
    """
    look = partial(_see, device=device)
    if workers > 1:
        return in_processes(look, models, workers, "features")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [look(each) for each in models]
    finally:
        torch.set_num_threads(before)


def _see(job: tuple[Path, Path], device: str) -> Seen:
    folder, images = job
    module, spec = load_model(folder, device)
    if spec.n_outputs != 1:
        msg = f"{folder} has {spec.n_outputs} outputs; logits are looked at of two classes alone"
        raise ModelError(msg)
    store = open_set(images)
    predictor = Predictor(module, spec, embeds=True)
    place = next(module.parameters()).device
    logits, features = [], []
    for start in range(0, len(store), _BATCH):
        numbers = np.arange(start, min(start + _BATCH, len(store)))
        out = predictor(torch.from_numpy(store.read(numbers)).to(place))
        assert out.embeddings is not None
        logits.append(out.logits[:, 0].cpu().numpy())
        features.append(out.embeddings.float().cpu().numpy())
    return Seen(np.concatenate(logits), np.concatenate(features))


def fitting_half(patient: NDArray[np.int64], seed: int) -> Bools:
    """Draw half of the patients, whose images a probe is fitted on: bool, (n,)."""
    codes = np.unique(patient)
    drawn = np.random.default_rng(seed).permutation(codes)[: len(codes) // 2]
    return np.isin(patient, drawn)


def probe(features: Floats, target: Bools, fitted: Bools) -> NDArray[np.float64]:
    """Fit a logistic regression on standardised features of some images, and judge the others.

    Parameters
    ----------
    features
        (n, D).
    target
        What is to be read, (n,).
    fitted
        Which images it is fitted on, (n,); their features alone say how they are standardised.

    Returns
    -------
    float64, (n - fitted,): the probe's logits.

    Raises
    ------
    NotEnoughDataError
        If the images it would be fitted on are all alike.
    """
    if len(np.unique(target[fitted])) < 2:
        msg = (
            f"a probe is fitted on half of the patients, whose {int(fitted.sum())} images are all "
            "of one kind: give the study more test images"
        )
        raise NotEnoughDataError(msg)
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=_PROBE_C, max_iter=_PROBE_STEPS, tol=1e-6)
    )
    model.fit(features[fitted].astype(np.float64), target[fitted])
    return np.asarray(model.decision_function(features[~fitted].astype(np.float64)))


def describe_features(
    seen: Mapping[str, Sequence[Seen]], images: Probed, config: EvaluateConfig
) -> dict[str, Any]:
    """Measure what each arm's models hold, and compare arms with the baseline.

    Parameters
    ----------
    seen
        Of each arm, what the model of each seed makes of the images.
    images
        The images.
    config
        Resamples, confidence, baseline, and the seed that draws the half the probes are fitted on.

    Returns
    -------
    `arms`: by arm, `probes` (the AUROC of `class` and of `mark`, with intervals over seeds and
    patients of the other half), `logits` (quantiles by class and mark, over all seeds' models)
    and `histogram` (of each class and mark). `differences`: of the probes'
    AUROCs, p-values adjusted by Holm over the arms.

    Raises
    ------
    NotEnoughDataError
        If there are too few images to fit a probe on.
    """
    fitted = fitting_half(images.patient, config.seed)
    targets = {CLASS: images.label == 1, MARK: images.mark}
    found = {
        target: _resampled(seen, images, truth, fitted, config) for target, truth in targets.items()
    }
    arms = {
        arm: {
            "probes": {
                target: measure(by_arm[arm], config.confidence).to_json()
                for target, by_arm in found.items()
            },
            "logits": _quantiles(models, images),
            "histogram": _histogram(models, images),
        }
        for arm, models in seen.items()
    }
    rows = [row for target in targets for row in _differences(target, found[target], config)]
    return {
        "images": {"fitted_on": int(fitted.sum()), "tested_on": int((~fitted).sum())},
        "arms": arms,
        "differences": rows,
    }


def _resampled(
    seen: Mapping[str, Sequence[Seen]],
    images: Probed,
    truth: Bools,
    fitted: Bools,
    config: EvaluateConfig,
) -> dict[str, Resampled]:
    """Probe every model for one thing; all arms are resampled by one plan, which pairs them."""
    owner = np.unique(images.patient[~fitted], return_inverse=True)[1].astype(np.int64)
    labels = truth[~fitted].astype(np.int64)
    found = {}
    for arm, models in seen.items():
        scores = np.stack([probe(each.features, truth, fitted) for each in models])
        sample = Sample(labels, owner, scores, (scores > 0).astype(np.int64))
        plan = plan_for(sample, config.bootstrap, config.seed)
        found[arm] = resample(sample, ("auroc",), plan)["auroc"]
    return found


def _differences(
    target: str, found: Mapping[str, Resampled], config: EvaluateConfig
) -> list[dict[str, Any]]:
    rows = []
    for pair in pairs_of(list(found), config.baseline):
        arm, baseline = found[pair.arm], found[pair.baseline]
        names = asdict(pair) | {"probe": target, "metric": "auroc"}
        if arm.linear is None or baseline.linear is None:
            rows.append(names | {"delta": None, "ci_low": None, "ci_high": None, "p": None})
            continue
        name = method_name(arm.sample)
        difference = delong_difference(arm.linear, baseline.linear, config.confidence, name)
        rows.append(names | asdict(difference))
    adjusted = holm([row["p"] for row in rows])
    return [row | {"p_adjusted": p} for row, p in zip(rows, adjusted, strict=True)]


def _groups(images: Probed) -> list[tuple[int, bool, Bools]]:
    """List class, mark, and which images are of both, (n,)."""
    return [
        (label, mark, (images.label == label) & (images.mark == mark))
        for label, mark in product((0, 1), (False, True))
    ]


def _quantiles(models: Sequence[Seen], images: Probed) -> list[dict[str, Any]]:
    """Quantiles of the logits, those of all seeds together."""
    rows = []
    for label, mark, chosen in _groups(images):
        values = np.concatenate([each.logits[chosen] for each in models]).astype(np.float64)
        known = np.quantile(values, QUANTILES).tolist() if len(values) else []
        row = {"class": label, "mark": mark, "n": int(chosen.sum())}
        rows.append(row | {"quantiles": dict(zip(map(str, QUANTILES), known, strict=False))})
    return rows


def _histogram(models: Sequence[Seen], images: Probed) -> dict[str, Any]:
    """Count logits by class and mark, over all seeds, in bins that hold them all."""
    reach = max(1.0, *(float(np.abs(each.logits).max()) for each in models))
    edges = np.linspace(-reach, reach, _BINS + 1)
    rows = []
    for label, mark, chosen in _groups(images):
        values = np.concatenate([each.logits[chosen] for each in models])
        # The outermost may lie beyond the last edge by rounding.
        counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0].tolist()
        rows.append({"class": label, "mark": mark, "counts": counts})
    return {"edges": edges.tolist(), "groups": rows}
