"""A thousand hostile paths and ids: each is refused, and nothing outside the table is read."""

import random
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from tiff_slides import write_slide
from viewed import Served, serving, tissue

REQUESTS = 1000
SECRET = b"TOP-SECRET-CONTENT"
DOTS = ("..", "%2e%2e", "%252e%252e", ".%2e", "..%00", "%c0%ae%c0%ae", "\\..\\..", "..;", "....//")
SLASHES = ("/", "%2f", "%252f", "\\", "%5c", "//")
PLACES = ("/api/slides/", "/tiles/", "/thumbnails/", "/static/", "/", "/api/")
NUMBERS = ("-1", "1e3", "0x1", "٣", "9" * 5000, "99999999", "nan", "1.0", "+1", " 1", "0_0", "")


def hostile(rng: random.Random, key: str, secret: Path, slide: Path) -> Iterator[bytes]:
    """Make hostile request targets, as they stand on the request line."""
    climb: Callable[[], str] = lambda: "".join(  # noqa: E731
        rng.choice(DOTS) + rng.choice(SLASHES) for _ in range(rng.randint(1, 12))
    )
    names = (str(secret), secret.name, str(slide), slide.name, "etc/passwd", "manifest.csv")
    kinds: tuple[Callable[[], str], ...] = (
        lambda: rng.choice(PLACES) + climb() + rng.choice(names).lstrip("/"),
        lambda: rng.choice(PLACES) + rng.choice(names),
        lambda: rng.choice(PLACES) + quote(rng.choice(names), safe=""),
        lambda: rng.choice(PLACES) + quote(quote(climb() + rng.choice(names), safe=""), safe=""),
        lambda: f"/tiles/{key}/{rng.choice(NUMBERS)}/{rng.choice(NUMBERS)}_0.jpg",
        lambda: f"/tiles/{key}/0/{rng.choice(NUMBERS)}_{rng.choice(NUMBERS)}.jpg",
        lambda: f"/tiles/{key}/{rng.randint(3, 10**9)}/{rng.randint(0, 10**9)}_{rng.random()}.jpg",
        lambda: f"/tiles/{key}/1/{rng.randint(5, 10**12)}_{rng.randint(0, 10**12)}.jpg",
        lambda: f"/tiles/{key}/0/0_0.jpg{rng.choice(('%00', '/', '/..', '%0a', '.png', ';a'))}",
        lambda: f"/api/slides/{key}/scores/{rng.choice(NUMBERS)}",
        lambda: f"/api/slides/{key}/outlines/{climb()}{rng.choice(names).lstrip('/')}",
        lambda: (
            f"/api/slides/{key[:-1]}{rng.choice(('%00', '', '*', '?', '%', 'g', '/' + climb()))}"
        ),
        lambda: f"/api/slides/{key.upper()}x/scores/0",
        lambda: "/thumbnails/" + "".join(chr(rng.randint(33, 0x2FFF)) for _ in range(40)),
        lambda: rng.choice(PLACES) + "A" * rng.choice((300, 4000, 9000, 70_000)),
        lambda: (
            rng.choice(("file://", "http://evil.example", "//evil.example", "*", "..")) + climb()
        ),
        lambda: "/static/" + rng.choice(("__init__.py", "app.py", "../app.py", ".", "%2e/main.js")),
        lambda: (
            rng.choice(PLACES[:3]) + rng.choice(("con", "~", "$HOME", "%00", "\x01", "<x>", "|"))
        ),
    )
    while True:
        yield rng.choice(kinds)().encode("utf-8", "surrogatepass")


def status_and_body(port: int, target: bytes) -> tuple[int, bytes]:
    """Send one request line as it is and read all of the answer."""
    request = b"GET " + target + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        try:
            connection.sendall(request)
            pieces = []
            while piece := connection.recv(65536):
                pieces.append(piece)
        except ConnectionResetError:
            # Refused before the request was read whole.
            pass
    data = b"".join(pieces)
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body


@pytest.fixture
def fenced(tmp_path: Path) -> Iterator[tuple[Served, Path]]:
    """Serve a folder beside secrets, one of them a slide."""
    folder = tmp_path / "open"
    folder.mkdir()
    write_slide(folder / "a.tif", tissue(700, 900, 0), downsamples=(1, 4))
    (tmp_path / "secret.txt").write_bytes(SECRET)
    (folder / "manifest.csv").write_bytes(SECRET)
    write_slide(tmp_path / "secret.tif", tissue(64, 64, 1))
    with serving(folder) as served:
        yield served, tmp_path


def test_a_thousand_hostile_requests(fenced: tuple[Served, Path]) -> None:
    served, folder = fenced
    key = served.get("/api/slides", headers={"accept": "*/*"}).body.split(b'"key":"')[1][:16]
    targets = hostile(
        random.Random(20),  # noqa: S311 - seeded, for tests
        key.decode(),
        folder / "secret.txt",
        folder / "secret.tif",
    )
    statuses: Counter[int] = Counter()
    for _ in range(REQUESTS):
        target = next(targets)
        status, body = status_and_body(served.port, target)
        assert 400 <= status < 500, (target, status, body[:200])
        assert SECRET not in body, target
        assert not body.startswith(b"\xff\xd8"), target
        assert b"root:" not in body, target
        statuses[status] += 1
    assert statuses[404] > 500
    assert served.get("/tiles/" + key.decode() + "/0/0_0.jpg", headers={"a": "b"}).status == 200
