"""Time what every command and every worker process pays before it does anything.

Run by `make bench`. Each row is started several times in fresh processes; the median counts, since
the first start of a series also reads the files from disk.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

PROGRAM = str(Path(sys.executable).with_name("wsi-specdec"))
ROWS = {
    "python alone": [sys.executable, "-c", "pass"],
    "wsi-specdec --help": [PROGRAM, "--help"],
    "wsi-specdec tile --help": [PROGRAM, "tile", "--help"],
    **{
        f"import wsi_specdec.{room}": [sys.executable, "-c", f"import wsi_specdec.{room}"]
        for room in ("config", "slides", "tissue", "store", "tiling", "models")
    },
}


def seconds(command: list[str]) -> float:
    """Wall-clock seconds of one run of `command`."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    print(f"{'median of ' + str(repeats):<32}{'seconds':>8}{'fastest':>9}")
    for name, command in ROWS.items():
        times = [seconds(command) for _ in range(repeats)]
        print(f"{name:<32}{statistics.median(times):>8.2f}{min(times):>9.2f}")


if __name__ == "__main__":
    main()
