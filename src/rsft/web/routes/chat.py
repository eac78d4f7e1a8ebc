"""Talking to a run's models: what would be loaded, and the conversation that is."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool

from rsft.errors import UserError
from rsft.web.chat import Load
from rsft.web.offer import fields_of, offer, wish_of
from rsft.web.pages import page
from rsft.web.site import Site, form


def routes(site: Site) -> APIRouter:
    router = APIRouter()
    chat = site.chat

    @router.get("/chat")
    async def chat_page(run: str) -> str:
        return await run_in_threadpool(shown, "chat.html", run)

    @router.get("/chat/now")
    async def chat_now(run: str, since: str = "") -> Response:
        """The conversation as it is now; nothing where that is what the page shows already."""
        if chat.shown()["version"] == since:
            return Response(status_code=204)
        return HTMLResponse(await run_in_threadpool(shown, "chat_now.html", run))

    @router.post("/chat/load")
    async def chat_load(request: Request) -> Response:
        said = await form(request)
        run = said.get("run", "")
        place = site.run(run)

        def load() -> None:
            try:
                wish = wish_of(said)
            except UserError as error:
                chat.tell(run, str(error))
            else:
                chat.load(Load(run, place, wish))

        return await done(request, run, load)

    @router.post("/chat/{what}")
    async def chat_do(request: Request, what: str) -> Response:
        said = await form(request)
        run = said.get("run", "")
        doing: dict[str, Callable[[], None]] = {
            "say": lambda: chat.say(run, said.get("text", "")),
            "retry": lambda: chat.retry(run),
            "stop": lambda: chat.stop(run),
            "undo": lambda: chat.undo(run),
            "set": lambda: chat.set(run, fields_of(said), said.get("system", "").strip() or None),
            "score": lambda: chat.score(run),
            "unload": chat.unload,
        }
        if what not in doing:
            return Response(status_code=404)
        return await done(request, run, doing[what])

    async def done(request: Request, run: str, work: Callable[[], None]) -> Response:
        """Do it, and show what is now: a part of the page, or all of it where a form was sent without htmx."""
        await run_in_threadpool(work)
        if "HX-Request" in request.headers:
            return HTMLResponse(await run_in_threadpool(shown, "chat_now.html", run))
        return RedirectResponse(f"/chat?{urlencode({'run': run})}", status_code=303)

    def shown(template: str, run: str) -> str:
        now = chat.shown()
        here = now["loaded"] == run
        if not here:  # what goes on elsewhere is none of this page's
            now |= {"busy": "", "offer": offer(site.run(run))}
        if now["error_of"] != run:
            now["error"] = ""
        return page(template, tab="chat", here=here, **now, **site.named(run))

    return router
