"""What all pages have in common: the folder whose runs they show, and what was read and is said of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from rsft.store import RunFolder
from rsft.web.browse import Wanted
from rsft.web.chat import Chat
from rsft.web.pages import page
from rsft.web.places import HERE, run_at
from rsft.web.shelf import Book, Shelf

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
        """What every page of a run says of it. `run` is as the user would type it."""
        with RunFolder.open(self.run(name), write=False) as run:
            browsable = run.decided_iterations("policy")
        shown = str(self.folder / name if name != HERE else self.folder)
        return {"name": name, "title": self.title(name), "run": shown, "browsable": browsable}

    async def page_of(self, template: str, name: str, **said: Any) -> str:
        """A page of a run, or a part of one."""
        return page(template, **await run_in_threadpool(self.named, name), **said)

    async def read(self, name: str, wanted: Wanted, work: Callable[[Book, Path], _Found]) -> _Found:
        """What `work` finds in the book of the iteration that is wanted, told where the run is."""
        place = self.run(name)
        return await self.shelf.read(place, wanted.iteration, lambda book: work(book, place))

    def close(self) -> None:
        """Let go of what was read and loaded."""
        self.chat.close()
        self.shelf.close()


async def form(request: Request) -> Mapping[str, str]:
    """What a page's form says, each name's last value."""
    return dict(parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True))
