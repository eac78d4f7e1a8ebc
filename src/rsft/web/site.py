"""What all pages have in common: the folder whose runs they show, and what was read and is said of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams

from rsft.errors import RunError
from rsft.store import RunFolder
from rsft.web.books import Book, Candidates
from rsft.web.browse import Wanted
from rsft.web.chat import Chat
from rsft.web.pages import page
from rsft.web.places import HERE, run_at
from rsft.web.shelf import Shelf
from rsft.web.sources import OWN, nearest, sources_of

_Found = TypeVar("_Found")


class Site:
    """The runs below a folder, by the names that addresses have for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shelf = Shelf()
        self.chat = Chat()

    def run(self, name: str) -> Path:
        """Where the run of this name is. Raises RunError for what is none, or leads elsewhere."""
        return run_at(self.folder, name)

    def title(self, name: str) -> str:
        return self.folder.resolve().name if name == HERE else name

    def named(self, name: str) -> dict[str, Any]:
        """What every page of a run says of it: its replies by iteration (`sources`), and the iterations on which it
        decided (`decided_in`). `run` is as the user would type it."""
        with RunFolder.open(self.run(name), write=False) as run:
            decided_in, sources = run.decided_iterations("policy"), sources_of(run)
        shown = str(self.folder / name if name != HERE else self.folder)
        return {
            "name": name,
            "title": self.title(name),
            "run": shown,
            "decided_in": decided_in,
            "sources": sources,
        }

    def nearest(self, name: str, wanted: Wanted) -> Wanted:
        """The same, of what the iteration has instead where it has no such replies."""
        with RunFolder.open(self.run(name), write=False) as run:
            return replace(wanted, which=nearest(run, wanted.iteration, wanted.source).address)

    async def page_of(self, template: str, name: str, **said: Any) -> str:
        """A page of a run, or a part of one."""
        return page(template, **await run_in_threadpool(self.named, name), **said)

    async def read(self, name: str, wanted: Wanted, work: Callable[[Book], _Found]) -> _Found:
        """What `work` finds in the book of what is wanted."""
        return await self.shelf.read(self.run(name), wanted.iteration, wanted.source, work)

    async def decided(self, name: str, iteration: int, work: Callable[[Candidates, Path], _Found]) -> _Found:
        """What `work` finds in an iteration's candidates on which the run itself decided, told where the run is. Raises
        RunError where it has not."""
        place = self.run(name)

        def of_own(book: Book) -> _Found:
            if not isinstance(book, Candidates) or not book.decided:
                raise RunError(f"The run {place} has not decided on the candidates of iteration {iteration} yet.")
            return work(book, place)

        return await self.shelf.read(place, iteration, OWN, of_own)

    def close(self) -> None:
        """Let go of what was read and loaded."""
        self.chat.close()
        self.shelf.close()


async def form(request: Request) -> QueryParams:
    """What a page's form says: by name the last value; `getlist` has all of them."""
    return QueryParams((await request.body()).decode(errors="replace"))
