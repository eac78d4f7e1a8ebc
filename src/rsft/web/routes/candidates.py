"""Candidates: pages of those that are wanted, and one in full."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from rsft.types import CandidateKey
from rsft.web.books import Book
from rsft.web.browse import Wanted, in_full, listed
from rsft.web.site import Site


def routes(site: Site) -> APIRouter:
    router = APIRouter()

    @router.get("/candidates")
    async def candidates(request: Request, run: str) -> str:
        asked = Wanted.of(request.query_params)
        wanted = await run_in_threadpool(site.nearest, run, asked)
        found = await site.read(run, wanted, lambda book: listed(book, wanted))
        return await site.page_of("candidates.html", run, tab="candidates", wanted=wanted, asked=asked, **found)

    @router.get("/candidate")
    async def candidate(request: Request, run: str, id: str, sample: int, generator: str) -> str:
        wanted = Wanted.of(request.query_params)

        def found_in(book: Book) -> dict[str, Any]:
            return in_full(book, wanted, CandidateKey(book.drawn_in, id, sample, generator))

        found = await site.read(run, wanted, found_in)
        return await site.page_of("candidate.html", run, tab="candidate", wanted=wanted, **found)

    return router
