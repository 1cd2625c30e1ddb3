"""Answers how long tensorstore takes for a batch; runs in an environment that has it.

Started by benchmarks/reading.py, with the paths of sharded Zarr v3 arrays and the number of
threads. Each line of input names a batch as JSON, each line of output says how long it took.
"""

import json
import sys
import time
from importlib import import_module
from typing import Any

import numpy as np

tensorstore: Any = import_module("tensorstore")


def main() -> None:
    """Serve until the input ends."""
    *paths, threads = sys.argv[1:]
    context = tensorstore.Context({"data_copy_concurrency": {"limit": int(threads)}})
    arrays = [
        tensorstore.open(
            {"driver": "zarr3", "kvstore": {"driver": "file", "path": path}}, context=context
        ).result()
        for path in paths
    ]
    shape = arrays[0].shape[1:]
    for line in sys.stdin:
        batch = json.loads(line)
        owners, numbers = np.asarray(batch["owners"]), np.asarray(batch["numbers"])
        started = time.perf_counter()
        tiles = np.empty((len(owners), *shape), np.uint8)
        places = [(owner, np.flatnonzero(owners == owner)) for owner in np.unique(owners)]
        # All are under way before the first is waited for.
        pending = [(rows, arrays[owner][numbers[rows]].read()) for owner, rows in places]
        for rows, future in pending:
            tiles[rows] = future.result()
        seconds = time.perf_counter() - started
        answer = {"seconds": seconds, "sum": int(tiles.sum(dtype=np.int64))}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
