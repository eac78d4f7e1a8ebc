"""Policies of one run or of several, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool

from rsft.web.beside import Beside
from rsft.web.history import histories
from rsft.web.pages import page as filled
from rsft.web.picks import MOST, Pick, choices, chosen, columns
from rsft.web.site import Site


def routes(site: Site) -> APIRouter:
    router = APIRouter()

    @router.get("/compare")
    async def compare(run: Annotated[list[str] | None, Query()] = None, show: str = "", page: int = 1) -> str:
        picks = await run_in_threadpool(chosen, run or [], site.run)

        def found_in(beside: Beside) -> dict[str, Any]:
            return {
                "shared": len(beside.common),
                "numbers": beside.numbers,
                "notes": beside.notes([site.title(pick.name) for pick in picks]),
                "recipes": beside.recipes,
                **beside.replies(show, page),
            }

        found = await site.shelf.beside([pick.which for pick in picks], found_in)
        return filled("compare.html", most=MOST, **await run_in_threadpool(told, picks), **found)

    def told(picks: Sequence[Pick]) -> dict[str, Any]:
        runs = {pick.name: pick.which.run for pick in picks}
        return {
            "columns": columns(picks, site.title),
            "choices": choices(picks, site.title),
            **histories(runs, site.title),
        }

    return router
