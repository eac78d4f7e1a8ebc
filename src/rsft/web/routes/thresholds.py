"""Moving the lines of the rules, and keeping what they decide."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from rsft.saved import saved_recipe
from rsft.web.books import Candidates
from rsft.web.browse import Wanted
from rsft.web.site import Site, form
from rsft.web.thresholds import at_certified, effect, lines_of, moved_rules, own_rules, save


def routes(site: Site) -> APIRouter:
    router = APIRouter()

    @router.get("/thresholds")
    async def thresholds(request: Request, run: str) -> str:
        return await moved("thresholds.html", run, request.query_params)

    @router.get("/thresholds/effect")
    async def thresholds_effect(request: Request, run: str) -> str:
        return await moved("effect.html", run, request.query_params, part=True)

    @router.post("/thresholds/save")
    async def thresholds_save(request: Request) -> str:
        said = await form(request)
        run = said.get("run", "")
        return await site.page_of("saved.html", run, kept=await run_in_threadpool(_saved, site.run(run), said))

    async def moved(template: str, run: str, said: Mapping[str, str], **more: Any) -> str:
        wanted = Wanted.of_run(said)
        shown = await run_in_threadpool(site.named, run)
        found = await site.decided(run, wanted.iteration, lambda book, place: _moved(book, place, shown["run"], said))
        return await site.page_of(template, run, tab="thresholds", wanted=wanted, **found, **more)

    return router


def _moved(book: Candidates, run: Path, shown: str, said: Mapping[str, str]) -> dict[str, Any]:
    own = own_rules(run, book.iteration)
    found = effect(book, run, shown, moved_rules(own, list(book.scorers), said))
    lines = lines_of(own, found["scorers"], said)
    return {**found, "lines": lines, "at_certified": at_certified(found["precision"], lines)}


def _saved(run: Path, said: Mapping[str, str]) -> dict[str, Any]:
    rules = own_rules(run, Wanted.of_run(said).iteration)
    return save(run, moved_rules(rules, list(saved_recipe(run).scorers), said), said.get("name", "").strip())
