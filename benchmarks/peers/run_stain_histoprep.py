"""HistoPrep: a profile of its own for every tile."""

from importlib import import_module
from typing import Any

from benchmarks.peers.stain_protocol import Normaliser, StainJob, run

CLASSES = {"macenko": "MachenkoStainNormalizer", "vahadane": "VahadaneStainNormalizer"}


def prepare(job: StainJob) -> list[Normaliser]:
    """Fit the target; every tile is fitted as it is normalised."""
    utils: Any = import_module("histoprep.utils")
    normalizer = getattr(utils, CLASSES[job.method])()
    normalizer.fit(job.target)
    return [normalizer.normalize] * len(job.tiles)


if __name__ == "__main__":
    run(prepare, ["histoprep", "scikit-learn", "numpy"])
