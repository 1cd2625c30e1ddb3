"""Run a `wsi-specdec` command with its slides spread over SLURM jobs (docs/cluster.md).

    python pipelines/slurm/on_slurm.py --jobs 8 -- tile slides/ --out run --mpp 0.5

Each job is one Dask worker that takes `--slides-per-job` slides at a time, each in a process of
its own. `--local` starts the same number of workers on this machine instead, to try it out.
"""  # noqa: INP001 - a script, in no package

import argparse
import subprocess
import sys
from typing import Any

# What a slide's process may hold (runner setting memory_limit_mb), and the Dask worker itself.
_MB_PER_SLIDE = 4096
_MB_PER_JOB = 1024


def main(arguments: list[str] | None = None) -> int:
    """Start the cluster, run the command on it, and return the command's exit code."""
    options = _parser().parse_args(arguments)
    with start_cluster(options) as cluster:
        # Each job is one worker. The command starts with the first, and others join as it runs.
        cluster.scale(options.jobs)
        command = [*options.command, "--scheduler", cluster.scheduler_address]
        return subprocess.call([sys.executable, "-m", "wsi_specdec", *command])  # noqa: S603


def start_cluster(options: argparse.Namespace) -> Any:  # noqa: ANN401 - Dask has no types
    """Start a scheduler here, whose workers are SLURM jobs or processes of this machine."""
    if options.local:
        from distributed import LocalCluster

        return LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=0,
            threads_per_worker=options.slides_per_job,
            # Slides are held by processes of their own, which have their own limit.
            memory_limit=0,
            dashboard_address=":0",
        )
    from dask_jobqueue import SLURMCluster

    return SLURMCluster(**slurm_settings(options))


def slurm_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return how `dask_jobqueue.SLURMCluster` is to ask for each job."""
    memory_mb = options.slides_per_job * _MB_PER_SLIDE + _MB_PER_JOB
    return {
        "queue": options.partition,
        "account": options.account,
        "walltime": options.walltime,
        # Of Dask, a core is a thread, which takes one slide; SLURM gives it so many CPUs.
        "cores": options.slides_per_job,
        "processes": 1,
        "job_cpu": options.slides_per_job * options.cpus_per_slide,
        "memory": f"{memory_mb}MiB",
        "python": sys.executable,
        "log_directory": options.logs,
        # On the node's own disk: Dask only keeps its locks there.
        "local_directory": "/tmp",  # noqa: S108
        "job_script_prologue": ["export OMP_NUM_THREADS=1"],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Run a wsi-specdec command on SLURM jobs.")
    parser.add_argument("--jobs", type=int, default=2, help="number of jobs (default 2)")
    parser.add_argument("--slides-per-job", type=int, default=4, help="at a time (default 4)")
    parser.add_argument("--cpus-per-slide", type=int, default=1, help="default 1")
    parser.add_argument("--walltime", default="24:00:00", help="of each job (default 24:00:00)")
    parser.add_argument("--partition", help="SLURM partition (default: the site's own)")
    parser.add_argument("--account", help="SLURM account (default: the user's own)")
    parser.add_argument("--logs", default="slurm-logs", help="folder of the jobs' logs")
    parser.add_argument("--local", action="store_true", help="processes of this machine, no SLURM")
    parser.add_argument("command", nargs="+", metavar="-- VERB …", help="of wsi-specdec")
    return parser


if __name__ == "__main__":
    sys.exit(main())
