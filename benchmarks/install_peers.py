"""Install the programs that the benchmarks compare with, each into an environment of its own.

Usage: python -m benchmarks.install_peers [--peers .peers] [NAME ...]

Versions are those of requirements/peers-NAME.txt, pinned and hashed; `--lock` resolves them anew.
What a package that comes as source is built with is pinned there, too. An environment that is up to
date is left alone. TIAToolbox and stainx bring PyTorch: about 6 GB each.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
REQUIREMENTS = ROOT / "requirements"
PEERS = ("histoprep", "tiatoolbox", "hs2p", "stainx")
_UV = Path(sys.executable).with_name("uv")
_LOCK = "python -m benchmarks.install_peers --lock"


def lock_file(name: str) -> Path:
    """Where the versions of a peer's environment are pinned."""
    return REQUIREMENTS / f"peers-{name}.txt"


def install(name: str, peers: Path) -> bool:
    """Make the environment of one peer; False where it was up to date."""
    folder = peers / name
    stamp = folder / "installed.txt"
    wanted = lock_file(name).read_text(encoding="utf-8")
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return False
    if folder.exists():
        shutil.rmtree(folder)
    _uv("venv", "--quiet", "--python", sys.executable, str(folder))
    python = str(folder / "bin" / "python")
    pinned = ("--require-hashes", f"--build-constraints={lock_file(name)}")
    _uv("pip", "sync", "--quiet", "--python", python, *pinned, str(lock_file(name)))
    stamp.write_text(wanted, encoding="utf-8")
    return True


def lock(name: str) -> None:
    """Resolve the versions of one peer's environment anew."""
    _uv(
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--generate-hashes",
        "--upgrade",
        "--python-version=3.11",
        f"--custom-compile-command={_LOCK}",
        str(lock_file(name).with_suffix(".in")),
        f"--output-file={lock_file(name)}",
    )


def _uv(*arguments: str) -> None:
    subprocess.run([str(_UV), *arguments], check=True)


def main() -> None:
    """Install the peers named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PEERS))
    parser.add_argument("--peers", type=Path, default=ROOT / ".peers")
    parser.add_argument("--lock", action="store_true")
    args = parser.parse_args()
    if unknown := set(args.names) - set(PEERS):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    for name in args.names or PEERS:
        if args.lock:
            lock(name)
        else:
            done = "installed" if install(name, args.peers) else "up to date"
            print(f"{name}: {done}", flush=True)


if __name__ == "__main__":
    main()
