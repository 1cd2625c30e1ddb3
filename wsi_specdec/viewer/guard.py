"""Who may ask for what: every request passes here before anything is looked up.

Slides are patients' data, and any page open in the same browser, as any user of the same machine,
can send requests to a port of it. So a request must come

- by GET or HEAD: nothing here changes anything;
- under a name of this machine, which a page that points its own name at it (DNS rebinding) has not;
- with the key that was printed when the viewer started, as a cookie that other sites' pages cannot
  send.
"""

import hashlib
import secrets
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

KEY_PARAMETER = "key"
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """Lets a request through to `app`, or answers that it may not.

    Parameters
    ----------
    app
        What is guarded.
    key
        The secret that a browser must show; None asks for none.
    names
        Names of this machine by which it may be called, beside those of the loopback address.
    any_address
        Whether any IP address will do as its name, since one cannot be pointed elsewhere.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        key: str | None,
        names: frozenset[str] = frozenset(),
        any_address: bool = False,
    ) -> None:
        self._app = app
        self._key = key
        self._names = _LOCAL_NAMES | {name.lower() for name in names}
        self._any_address = any_address
        # Viewers on other ports of this machine share its cookies.
        digest = hashlib.sha256((key or "").encode()).hexdigest()[:8]
        self._cookie = f"wsi_specdec_view_{digest}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        answer = self._refusal(scope)
        await (answer or self._app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        """Return what to say instead of an answer; None lets the request through."""
        headers = Headers(scope=scope)
        if not self._knows_host(headers.getlist("host")):
            return _say(HTTPStatus.BAD_REQUEST, "This machine is not called that.")
        if scope["method"] not in {"GET", "HEAD"}:
            return _say(HTTPStatus.METHOD_NOT_ALLOWED, "There is nothing to change here.")
        if self._key is None or self._holds_key(headers.get("cookie", "")):
            return None
        if scope["path"] == "/" and self._is_key(_given_key(scope)):
            return self._welcome()
        return _say(
            HTTPStatus.FORBIDDEN, "Open the address that `wsi-specdec view` printed, whole."
        )

    def _welcome(self) -> Response:
        """Keep the key as a cookie, and out of the address."""
        answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)
        answer.set_cookie(self._cookie, self._key or "", httponly=True, samesite="strict")
        return answer

    def _knows_host(self, hosts: list[str]) -> bool:
        if len(hosts) != 1:
            return False
        host, colon, port = hosts[0].rpartition(":")
        if not (colon and port.isascii() and port.isdigit()):
            host = hosts[0]
        host = host.lower()
        return host in self._names or (self._any_address and _is_address(host))

    def _holds_key(self, cookies: str) -> bool:
        try:
            found = SimpleCookie(cookies).get(self._cookie)
        except CookieError:
            return False
        return found is not None and self._is_key(found.value)

    def _is_key(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), (self._key or "").encode())


def _given_key(scope: Scope) -> str:
    query: bytes = scope["query_string"]
    return parse_qs(query.decode("latin-1")).get(KEY_PARAMETER, [""])[0]


def _is_address(host: str) -> bool:
    try:
        ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _say(status: HTTPStatus, text: str) -> Response:
    return PlainTextResponse(text + "\n", status)
