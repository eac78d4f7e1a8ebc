"""Talking to a run's models: what would be loaded, and the conversation that is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode

import psutil
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool

from rsft.config import Recipe
from rsft.errors import UserError
from rsft.prompts.framing import Framing
from rsft.saved import saved_recipe
from rsft.store import RunFolder
from rsft.talking import BASE, offered
from rsft.web.chat import Wanted, fields_of, typed, wish_of
from rsft.web.pages import page
from rsft.web.site import Site

_EXAMPLE = 2000
"""Characters of a held-out prompt's field that are offered as an example."""


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
        pairs = parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True)
        said, speakers = dict(pairs), [value for name, value in pairs if name == "who"]
        run = said.get("run", "")
        place = site.run(run)

        def load() -> None:
            try:
                wish = wish_of(said, speakers)
            except UserError as error:
                chat.tell(run, str(error))
            else:
                chat.load(Wanted(run, place, wish))

        return await done(request, run, load)

    @router.post("/chat/{what}")
    async def chat_do(request: Request, what: str) -> Response:
        said = dict(parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True))
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
            now |= {"busy": "", "offer": _offer(site, run)}
        if now["error_of"] != run:
            now["error"] = ""
        return page(template, tab="chat", here=here, **now, **site.named(run))

    return router


def _offer(site: Site, name: str) -> dict[str, Any]:
    """Who of a run can be talked to, and what that takes. No model is loaded for it."""
    run = site.run(name)
    recipe = saved_recipe(run)
    said = offered(run, recipe)
    chosen = {said.best, BASE}
    return {
        "speakers": [
            {
                "name": one.speaker.name,
                "title": one.title,
                "bytes": one.bytes,
                "missing": one.missing,
                "best": one.speaker.name == said.best,
                "chosen": one.speaker.name in chosen and not one.missing,
            }
            for one in said.speakers
        ],
        "model": said.model,
        "engine": said.engine,
        "local": said.needs_files,
        "bytes": said.bytes,
        "memory": said.memory,
        "free": psutil.virtual_memory().available,
        "writer": said.writer,
        "fields": _fields(run, recipe),
        "law": recipe.sampling.law(),
    }


def _fields(run: Any, recipe: Recipe) -> dict[str, str]:
    """The fields that the recipe's template reads, with what a prompt of the run holds there as an example."""
    wanted = Framing(recipe.prompts.template, recipe.prompts.system).fields
    if not wanted:
        return {}
    with RunFolder.open(run, write=False) as folder:
        ids = [ids[0] for split in ("heldout", "train") if (ids := folder.prompt_ids(split))]
        found = [one for split in ("heldout", "train") for one in folder.load_prompts(split, set(ids[:1]))]
    held = found[0].fields if found else {}
    shown = {name: typed(held.get(name)) for name in wanted}
    return {name: text if len(text) <= _EXAMPLE else "" for name, text in shown.items()}
