"""The pages put together, with what an error looks like."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from rsft.errors import RsftError
from rsft.web.gate import Gate
from rsft.web.pages import page
from rsft.web.routes import candidates, chat, compare, labels, pairs, runs, thresholds
from rsft.web.site import Site

_ASSETS = Path(__file__).parent / "assets"
_VIEWS = (runs, candidates, compare, thresholds, labels, pairs, chat)


def gated(folder: Path, host: str, port: int) -> Gate:
    """The pages of the runs below a folder, behind their gate. `host` and `port` are those that it will listen at."""
    return Gate(pages_of(folder), host, port)


def pages_of(folder: Path) -> FastAPI:
    """The pages of the runs below a folder. Nothing here asks who is asking: see `gated`."""
    site = Site(folder)

    @asynccontextmanager
    async def serving(_: FastAPI) -> AsyncIterator[None]:
        yield
        site.close()

    app = FastAPI(
        docs_url=None, redoc_url=None, openapi_url=None, default_response_class=HTMLResponse, lifespan=serving
    )
    app.mount("/assets", StaticFiles(directory=_ASSETS), name="assets")
    for error in (RsftError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(error, _failed)
    for view in _VIEWS:
        app.include_router(view.routes(site))
    return app


def _failed(request: Request, error: Exception) -> HTMLResponse:
    """What went wrong, and what to do: a page of its own, or a part where only a part was asked for."""
    if isinstance(error, HTTPException):
        status, why = error.status_code, "There is no such page." if error.status_code == 404 else error.detail
    elif isinstance(error, RequestValidationError):
        status, why = 400, "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())
    elif isinstance(error, RsftError):
        status, why = 400, str(error)
    else:  # the server raises it again, and tells it in the terminal
        status, why = (
            500,
            "That is a mistake of rsft’s own. The terminal where rsft ui runs says more. Nothing was lost.",
        )
    part = "HX-Request" in request.headers
    # Whatever part a view waits for, what it gets is the error, in that part's place.
    headers = {"HX-Reselect": ".error", "HX-Reswap": "innerHTML"} if part else {}
    return HTMLResponse(page("error_part.html" if part else "error.html", why=why, part=part), status, headers)
