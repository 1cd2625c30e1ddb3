"""The ASGI application: addresses and answers. What is served is `Content`'s matter."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from wsi_specdec.errors import WsiSpecdecError
from wsi_specdec.viewer.assets import PAGE, Asset
from wsi_specdec.viewer.catalogue import Entry
from wsi_specdec.viewer.content import Content
from wsi_specdec.viewer.pyramid import Place

T = TypeVar("T")
# More digits than this are no number of a tile, and Python refuses to read very many.
_NUMBER = re.compile(r"[0-9]{1,7}")
_TILE = re.compile(r"([0-9]{1,7})_([0-9]{1,7})\.jpg")
# A slide's key changes with its file, so that nothing stale is kept.
_KEPT = {"cache-control": "private, max-age=3600"}
_FRESH = {"cache-control": "no-cache"}


def make_app(content: Content, assets: dict[str, Asset]) -> Starlette:
    """Make the application that serves slides to a browser, to be put behind `Guard`.

    Parameters
    ----------
    content
        The slides.
    assets
        The page's own files by name.
    """
    handlers = _Handlers(content, assets)
    routes = {
        "/": handlers.page,
        "/static/{name}": handlers.asset,
        "/api/slides": handlers.slides,
        "/api/slides/{key}": handlers.slide,
        "/api/slides/{key}/scores/{source}": handlers.scores,
        "/api/slides/{key}/outlines/{name}": handlers.outlines,
        "/tiles/{key}/{level}/{place}": handlers.tile,
        "/thumbnails/{key}": handlers.thumbnail,
    }

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        content.pool.close()

    app = Starlette(
        routes=[Route(path, handler, methods=["GET"]) for path, handler in routes.items()],
        exception_handlers={WsiSpecdecError: _problem, HTTPException: _refused},
        lifespan=lifespan,
    )
    # A redirect would answer what is no address of ours.
    app.router.redirect_slashes = False
    return app


class _Handlers:
    """One method an address."""

    def __init__(self, content: Content, assets: dict[str, Asset]) -> None:
        self._content = content
        self._assets = assets
        self._slots = CapacityLimiter(content.config.threads)

    async def page(self, _request: Request) -> Response:
        return _asset(self._assets[PAGE])

    async def asset(self, request: Request) -> Response:
        asset = self._assets.get(request.path_params["name"])
        return _asset(_found(asset))

    async def slides(self, _request: Request) -> Response:
        return JSONResponse(self._content.listing(), headers=_FRESH)

    async def slide(self, request: Request) -> Response:
        entry = self._entry(request)
        found = await self._work(request, partial(self._content.description, entry))
        return JSONResponse(found, headers=_FRESH)

    async def scores(self, request: Request) -> Response:
        entry, source = self._entry(request), _number(request.path_params["source"])
        found = await self._work(request, partial(self._content.scores, entry, source))
        return JSONResponse(_found(found), headers=_FRESH)

    async def outlines(self, request: Request) -> Response:
        entry, name = self._entry(request), request.path_params["name"]
        found = await self._work(request, partial(self._content.outlines, entry, name))
        return JSONResponse(_found(found), headers=_FRESH)

    async def tile(self, request: Request) -> Response:
        entry, level = self._entry(request), _number(request.path_params["level"])
        match = _TILE.fullmatch(request.path_params["place"])
        column, row = (int(number) for number in _found(match).groups())
        place = Place(level, column, row)
        data = await self._work(request, partial(self._content.tile, entry, place))
        return Response(_found(data), media_type="image/jpeg", headers=_KEPT)

    async def thumbnail(self, request: Request) -> Response:
        entry = self._entry(request)
        data = await self._work(request, partial(self._content.thumbnail, entry))
        return Response(_found(data), media_type="image/jpeg", headers=_KEPT)

    def _entry(self, request: Request) -> Entry:
        return _found(self._content.catalogue.entries.get(request.path_params["key"]))

    async def _work(self, request: Request, call: Callable[[], T]) -> T:
        """Do what takes time in a thread, a bounded number at once.

        A browser that zooms on asks for tiles and then hangs up: those are not made.
        """
        async with self._slots:
            if await request.is_disconnected():
                raise HTTPException(HTTPStatus.REQUEST_TIMEOUT)
            return await run_sync(call)


def _found(value: T | None) -> T:
    if value is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such thing here.")
    return value


def _number(text: str) -> int:
    return int(_found(_NUMBER.fullmatch(text)).group())


def _asset(asset: Asset) -> Response:
    return Response(asset.data, media_type=asset.media_type, headers=_FRESH)


async def _problem(_request: Request, error: Exception) -> Response:
    """Answer that a slide, or a file about it, cannot be read, and why."""
    return _error(str(error), HTTPStatus.UNPROCESSABLE_ENTITY)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.detail, error.status_code)


def _error(text: str, status: int) -> Response:
    content: dict[str, Any] = {"error": text}
    return JSONResponse(content, status, headers={"cache-control": "no-store"})
