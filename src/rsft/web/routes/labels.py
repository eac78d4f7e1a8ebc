"""Labelling: what is asked about now, and what was said of it."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from rsft.web.browse import Wanted
from rsft.web.label import asked_now, say
from rsft.web.site import Site, form


def routes(site: Site) -> APIRouter:
    router = APIRouter()

    @router.get("/label")
    async def label(request: Request, run: str) -> str:
        said = request.query_params
        wanted = Wanted.of_run(said)
        found = await site.decided(run, wanted.iteration, lambda book, _: asked_now(book, said))
        return await site.page_of("label.html", run, tab="label", wanted=wanted, **found)

    @router.post("/label/say")
    async def label_say(request: Request) -> HTMLResponse:
        said = await form(request)
        run, wanted = said.get("run", ""), Wanted.of_run(said)
        found = await site.decided(run, wanted.iteration, lambda book, place: say(book, place, said))
        part = await site.page_of("label_now.html", run, tab="label", wanted=wanted, **found)
        return HTMLResponse(part, 409 if found["refused"] else 200)

    return router
