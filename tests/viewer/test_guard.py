"""Who may ask: names of this machine, reading methods, and those who hold the key."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tiff_slides import write_slide
from viewed import Served, serving, tissue

from wsi_specdec.viewer import is_loopback
from wsi_specdec.viewer.assets import load_assets
from wsi_specdec.viewer.guard import Guard
from wsi_specdec.viewer.serving import address

PATHS = ("/", "/api/slides", "/static/main.js", "/tiles/0/0/0_0.jpg", "/nothing")


async def inner(_scope: Any, _receive: Any, send: Any) -> None:  # noqa: ANN401
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"inside"})


def ask(guard: Guard, *hosts: bytes, method: str = "GET", path: str = "/") -> int:
    """Status of a request that names these hosts."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:  # noqa: ANN401
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(b"host", host) for host in hosts],
    }
    asyncio.run(guard(scope, receive, send))
    return int(sent[0]["status"])


@pytest.mark.parametrize(
    "host", [b"localhost", b"127.0.0.1", b"LOCALHOST:8764", b"127.0.0.1:1", b"[::1]:80", b"[::1]"]
)
def test_names_of_this_machine_are_answered(host: bytes) -> None:
    assert ask(Guard(inner, key=None), host) == 200


@pytest.mark.parametrize(
    "hosts",
    [
        (),
        (b"",),
        (b"evil.example",),
        (b"evil.example:8764",),
        (b"localhost.evil.example",),
        (b"127.0.0.1.evil.example",),
        (b"127.0.0.1", b"evil.example"),
        (b"localhost:80:80",),
        (b"localhost:port",),
        (b"192.168.0.9",),
        (b"0.0.0.0",),
        (b"[::2]",),
        ("localhost:\uff11".encode(),),
    ],
)
def test_other_names_are_not(hosts: tuple[bytes, ...]) -> None:
    assert ask(Guard(inner, key=None), *hosts) == 400


def test_beyond_loopback_addresses_and_the_machines_name_are_answered() -> None:
    guard = Guard(inner, key=None, names=frozenset({"Server1"}), any_address=True)
    hosts = (b"server1:80", b"10.0.0.4:80", b"[2001:db8::1]:80", b"localhost")
    assert [ask(guard, host) for host in hosts] == [200] * 4
    assert ask(guard, b"evil.example") == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "ODD"])
def test_nothing_can_be_changed(served: Served, method: str) -> None:
    for path in PATHS:
        assert served.get(path, method).status == 405


def test_head_is_answered_without_a_body(served: Served) -> None:
    answer = served.get("/api/slides", "HEAD")
    assert (answer.status, answer.body) == (200, b"")


def test_without_the_key_nothing_is_told(served: Served) -> None:
    cookie = served.cookie
    forged = [{}, {"cookie": cookie[:-1]}, {"cookie": cookie + "x"}, {"cookie": "a=b"}]
    forged.append({"cookie": f'{cookie.partition("=")[0]}="\xff"'})
    for headers in forged:
        for path in (*PATHS, "/?key=", "/?key=wrong", "/?key=%ff", f"/api/slides?key={served.key}"):
            answer = served.get(path, headers={"accept": "*/*", **headers})
            assert answer.status == 403, (headers, path)
            assert b"slide" not in answer.body


def test_the_key_becomes_a_cookie_that_other_pages_cannot_use(served: Served) -> None:
    answer = served.get(f"/?key={served.key}", headers={"accept": "*/*"})
    assert (answer.status, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert served.get("/").status == 200


def test_viewers_side_by_side_keep_their_own_cookies(served: Served, tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif", tissue(64, 64, 0))
    with serving(tmp_path, key="another") as other:
        both = {"cookie": f"{other.cookie}; {served.cookie}"}
        assert other.cookie.partition("=")[0] != served.cookie.partition("=")[0]
        assert served.get("/", headers=both).status == 200
        assert other.get("/", headers=both).status == 200
        assert served.get("/", headers={"cookie": other.cookie}).status == 403


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_has_the_headers_that_keep_others_out(served: Served, path: str) -> None:
    for headers in (None, {"accept": "*/*"}):
        found = served.get(path, headers=headers).headers
        policy = found["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert found["x-content-type-options"] == "nosniff"
        assert found["x-frame-options"] == "DENY"
        assert found["referrer-policy"] == "no-referrer"
        assert found["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in found


def test_the_page_asks_nobody_else_for_anything() -> None:
    for name, asset in load_assets().items():
        # Leaflet links to its home page from a control that is not shown.
        if not name.startswith("leaflet"):
            assert b"http:" not in asset.data, name
            assert b"https:" not in asset.data, name
            assert b"//cdn" not in asset.data, name


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("10.0.0.1", False),
        ("server1", False),
    ],
)
def test_loopback(host: str, *, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_addresses_carry_the_key() -> None:
    assert address("127.0.0.1", 80, "a-b") == "http://127.0.0.1:80/?key=a-b"
    assert address("::1", 80, "k") == "http://[::1]:80/?key=k"
    assert "0.0.0.0" not in address("0.0.0.0", 80, "k")  # noqa: S104


def test_the_app_without_a_key_asks_for_none(run_dir: Path) -> None:
    with serving(run_dir) as open_to_all:
        assert open_to_all.get("/", headers={"accept": "*/*"}).status == 200
