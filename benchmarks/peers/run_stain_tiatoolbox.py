"""TIAToolbox: a profile of its own for every tile."""

from importlib import import_module
from typing import Any

from benchmarks.peers.stain_protocol import Normaliser, StainJob, run


def prepare(job: StainJob) -> list[Normaliser]:
    """Fit the target; every tile is fitted as it is normalised."""
    stainnorm: Any = import_module("tiatoolbox.tools.stainnorm")
    normalizer = stainnorm.get_normalizer(job.method)
    # It writes into what it is given.
    normalizer.fit(job.target.copy())
    return [lambda tile: normalizer.transform(tile.copy())] * len(job.tiles)


if __name__ == "__main__":
    run(prepare, ["tiatoolbox", "scikit-learn", "numpy"])
