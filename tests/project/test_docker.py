"""The images, without an engine: their Dockerfiles are read, linted, and replayed step by step."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILES = ("Dockerfile.cpu", "Dockerfile.cuda")
# Steps that change the base image, not the environment: a linter reads them, nothing runs them.
SYSTEM_COMMANDS = ("apt-get ", "rm -rf /var/lib/apt/", "useradd ")
# They change speed and size, not what is installed; the cache saves a download of gigabytes.
SPEED_SETTINGS = {"PIP_NO_CACHE_DIR", "UV_NO_CACHE", "UV_COMPILE_BYTECODE"}
MODULES = "torch, torchvision, timm, zarr, openslide, tiffslide, cv2, imagecodecs, wsi_specdec"


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile, continuation lines joined."""

    name: str
    arguments: str


def parse_dockerfile(path: Path) -> list[Instruction]:
    lines = path.read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", text).splitlines()
    parts = (line.split(maxsplit=1) for line in joined if line.strip())
    return [Instruction(name.upper(), arguments) for name, arguments in parts]


def instructions(path: Path, name: str) -> list[str]:
    return [step.arguments for step in parse_dockerfile(path) if step.name == name]


def own_commands(step: Instruction) -> list[str]:
    """The commands of a RUN that fill the environment, in order."""
    commands = (command.strip() for command in step.arguments.split(" && "))
    return [command for command in commands if not command.startswith(SYSTEM_COMMANDS)]


@dataclass
class Replay:
    """A folder standing for the image's root, in which the instructions are carried out.

    Absolute paths of the image (`/opt/...`, `/data`) are moved below it.
    """

    root: Path
    workdir: str = "/"
    variables: dict[str, str] = field(default_factory=dict)
    executed: list[str] = field(default_factory=list)

    def moved(self, text: str) -> str:
        return re.sub(r"(?<![\w.])/(opt|data)\b", rf"{self.root}/\1", text)

    @property
    def here(self) -> Path:
        folder = self.root / self.workdir.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def environment(self) -> dict[str, str]:
        """Nothing of this process's environment but how to reach the registry and the caches."""
        home = self.root / "home"
        home.mkdir(exist_ok=True)
        passed = re.compile(r"PIP_|UV_|SSL_|REQUESTS_CA_BUNDLE|(?i:https?_proxy|no_proxy)")
        environment = {k: v for k, v in os.environ.items() if passed.match(k)}
        environment |= {
            "HOME": str(home),
            "PATH": os.defpath,
            # The base image's `python3`; a virtual environment's own would hand on its packages.
            "PYTHON": str(Path(sys.base_prefix) / "bin" / "python3"),
            "UV_CACHE_DIR": uv_cache(),
        }
        for name, value in self.variables.items():
            if name not in SPEED_SETTINGS:
                environment[name] = self.moved(value).replace("$PATH", environment["PATH"])
        return environment

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, cwd=self.here, env=self.environment(), capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def carry_out(self, step: Instruction) -> None:
        if step.name == "WORKDIR":
            self.workdir = step.arguments
        elif step.name == "ENV":
            self.variables |= dict(re.findall(r"(\w+)=(\S+)", step.arguments))
        elif step.name == "COPY":
            *sources, target = step.arguments.split()
            for source in sources:
                self.copy(source, target)
        elif step.name == "RUN":
            for command in own_commands(step):
                self.executed.append(command)
                self.run("sh", "-c", self.moved(command))

    def copy(self, source: str, target: str) -> None:
        assert is_sent(source), f".dockerignore keeps {source} from the build"
        destination = self.here / target / (Path(source).name if target.endswith("/") else "")
        destination.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(
                ROOT / source, destination, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy2(ROOT / source, destination)


def uv_cache() -> str:
    command = [str(Path(sys.executable).with_name("uv")), "cache", "dir"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def is_sent(source: str) -> bool:
    """Whether `.dockerignore`, which excludes all and then lists exceptions, lets `source` in."""
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    assert "*" in rules
    sent = [rule[1:] for rule in rules if rule.startswith("!")]
    return any(source == rule or source.startswith(f"{rule}/") for rule in sent)


@pytest.fixture(scope="module")
def installed() -> Iterator[dict[tuple[Instruction, ...], Replay]]:
    """Replays by their instructions: two files that say the same share one environment."""
    replays: dict[tuple[Instruction, ...], Replay] = {}
    yield replays
    for replay in replays.values():
        shutil.rmtree(replay.root)


@pytest.fixture(params=DOCKERFILES)
def image(
    request: pytest.FixtureRequest,
    installed: dict[tuple[Instruction, ...], Replay],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Replay]:
    path = ROOT / "docker" / request.param
    steps = parse_dockerfile(path)
    # What is left of a RUN without its system commands is what decides the environment.
    key = tuple(
        Instruction(s.name, " && ".join(own_commands(s)) if s.name == "RUN" else s.arguments)
        for s in steps
        if s.name in {"ENV", "WORKDIR", "COPY"} or (s.name == "RUN" and own_commands(s))
    )
    if key not in installed:
        replay = installed.setdefault(key, Replay(tmp_path_factory.mktemp("image")))
        for step in steps:
            replay.carry_out(step)
    return path, installed[key]


@pytest.mark.slow
def test_install_steps_give_an_environment_that_works(image: tuple[Path, Replay]) -> None:
    _, replay = image
    assert any("package" in command for command in replay.executed)
    done = replay.run("python", "-c", f"import {MODULES}; print(wsi_specdec.__file__)")
    assert Path(done.stdout.strip()).is_relative_to(replay.root / "opt" / "venv")


@pytest.mark.slow
def test_entry_point_starts(image: tuple[Path, Replay]) -> None:
    path, replay = image
    (entry,), (default,) = instructions(path, "ENTRYPOINT"), instructions(path, "CMD")
    done = replay.run(*json.loads(entry), *json.loads(default))
    assert "Usage: wsi-specdec" in done.stdout


@pytest.mark.slow
def test_image_holds_the_runtime_lock_and_no_more(image: tuple[Path, Replay]) -> None:
    _, replay = image
    code = (
        "import importlib.metadata as m;"
        "print(*sorted(f'{d.name}=={d.version}' for d in m.distributions()))"
    )
    found = {name.lower() for name in replay.run("python", "-c", code).stdout.split()}
    lock = (ROOT / "requirements" / "runtime.txt").read_text(encoding="utf-8")
    locked = set(re.findall(r"^([\w.-]+==[\w.+-]+)", lock, flags=re.MULTILINE))
    own = {name for name in found if name.startswith("wsi-specdec==")}
    assert len(own) == 1
    assert {n.replace("_", "-") for n in found - own} <= {n.replace("_", "-") for n in locked}
    assert {"torch", "zarr"} <= {name.split("==")[0] for name in found}


@pytest.mark.parametrize("name", DOCKERFILES)
def test_linter_finds_nothing(name: str) -> None:
    command = [str(Path(sys.executable).with_name("hadolint")), f"docker/{name}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", DOCKERFILES)
def test_base_is_pinned_and_user_is_not_root(name: str) -> None:
    path = ROOT / "docker" / name
    (base,) = instructions(path, "FROM")
    assert re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+-[\w.-]+", base)
    assert int(instructions(path, "USER")[-1]) > 0


def test_cuda_base_is_of_the_release_that_torch_is_locked_with() -> None:
    lock = (ROOT / "requirements" / "runtime.txt").read_text(encoding="utf-8")
    release = re.search(r"^cuda-toolkit==(\d+\.\d+)\.", lock, flags=re.MULTILINE)
    assert release
    (base,) = instructions(ROOT / "docker" / "Dockerfile.cuda", "FROM")
    assert f"nvidia/cuda:{release.group(1)}." in base
