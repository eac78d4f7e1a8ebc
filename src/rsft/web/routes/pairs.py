"""Comparing replies side by side: the pair that is asked about now, what was said of it, what it all comes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from starlette.concurrency import run_in_threadpool

from rsft.web.label_pairs import Desk, compared, say, show
from rsft.web.site import Site, form


def routes(site: Site) -> APIRouter:
    router = APIRouter()
    desk = Desk()

    @router.get("/pairs")
    async def pairs(request: Request, run: str) -> str:
        found = await run_in_threadpool(compared, desk, site.run(run), request.query_params)
        return await site.page_of("pairs.html", run, tab="label", **found)

    @router.post("/pairs/say")
    async def pairs_say(request: Request) -> HTMLResponse:
        return await changed(request, say)

    @router.post("/pairs/show")
    async def pairs_show(request: Request) -> HTMLResponse:
        return await changed(request, show)

    async def changed(
        request: Request, work: Callable[[Desk, Path, Mapping[str, str]], dict[str, Any]]
    ) -> HTMLResponse:
        said = await form(request)
        run = said.get("run", "")
        found = await run_in_threadpool(work, desk, site.run(run), said)
        part = await site.page_of("pairs_now.html", run, tab="label", **found)
        return HTMLResponse(part, 409 if found["refused"] else 200)

    return router
