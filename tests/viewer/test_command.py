"""`wsi-specdec view`, as a user starts and ends it."""

import asyncio
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tiff_slides import write_slide
from viewed import tissue

from wsi_specdec.cli.app import make_app
from wsi_specdec.errors import ConfigError, ManifestError
from wsi_specdec.viewer.serving import listen

VIEW = [sys.executable, "-m", "wsi_specdec", "view"]


def test_it_prints_its_address_serves_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif", tissue(64, 64, 0))
    (tmp_path / "b.svs").write_text("no slide")
    with subprocess.Popen(
        [*VIEW, str(tmp_path), "--port", "0", "--quiet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A background shell would have its children ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)(/\?key=[\w-]{32})\n", line)
            assert found, (line, process.stderr and process.stderr.read())
            connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=30)
            connection.request("GET", found[2])
            answer = connection.getresponse()
            assert answer.status == 303
            connection.close()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1, port {port}: .*--port, 0 for any"):
            listen("127.0.0.1", port)


def test_answers_are_not_held_back() -> None:
    """By Nagle's algorithm, which asyncio switches off only where a socket names its protocol."""

    async def is_off_where_accepted() -> bool:
        seen: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        class Accepted(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                own = transport.get_extra_info("socket")
                seen.set_result(own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

        listener = listen("127.0.0.1", 0)
        async with await asyncio.get_running_loop().create_server(Accepted, sock=listener):
            _, writer = await asyncio.open_connection(*listener.getsockname())
            is_off = bool(await seen)
            writer.close()
            await writer.wait_closed()
        return is_off

    assert asyncio.run(is_off_where_accepted())


def test_an_address_that_others_reach_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # An address of nobody, so that nothing is listened on.
    program = make_app({"view"})
    with pytest.raises(ConfigError, match=r"cannot listen on 203\.0\.113\.1"):
        program(["view", str(tmp_path), "--host", "203.0.113.1"], standalone_mode=False)
    assert "OTHER MACHINES" in capsys.readouterr().err
    with pytest.raises(ManifestError, match="no slides"):
        program(["view", str(tmp_path), "--port", "0"], standalone_mode=False)
    assert "OTHER MACHINES" not in capsys.readouterr().err
