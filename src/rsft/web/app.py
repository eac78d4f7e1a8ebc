"""The pages. Each address reads its arguments, asks what does the work, and fills a template in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from rsft.errors import RsftError, RunError
from rsft.listing import runs_in
from rsft.setup import saved_recipe
from rsft.store import RunFolder
from rsft.types import CandidateKey
from rsft.web.browse import Wanted, in_full, listed
from rsft.web.gate import Gate
from rsft.web.label import asked_now, say
from rsft.web.overview import overview
from rsft.web.pages import page
from rsft.web.places import HERE, name_of, run_at
from rsft.web.shelf import Book, Shelf
from rsft.web.thresholds import effect, lines_of, moved_rules, own_rules, save

_ASSETS = Path(__file__).parent / "assets"


def gated(folder: Path, host: str, port: int) -> Gate:
    """The pages of the runs below a folder, behind their gate. `host` and `port` are those that it will listen at."""
    return Gate(pages_of(folder), host, port)


def pages_of(folder: Path) -> FastAPI:
    """The pages of the runs below a folder. Nothing here asks who is asking: see `gated`."""
    shelf = Shelf()

    @asynccontextmanager
    async def serving(_: FastAPI) -> AsyncIterator[None]:
        yield
        shelf.close()

    app = FastAPI(
        docs_url=None, redoc_url=None, openapi_url=None, default_response_class=HTMLResponse, lifespan=serving
    )
    app.mount("/assets", StaticFiles(directory=_ASSETS), name="assets")
    app.add_exception_handler(RsftError, _failed)
    app.add_exception_handler(HTTPException, _failed)
    app.add_exception_handler(RequestValidationError, _failed)

    @app.get("/")
    def runs() -> str:
        return page("runs.html", **_runs(folder))

    @app.get("/runs")
    def runs_now() -> str:
        return page("runs_now.html", **_runs(folder))

    @app.get("/run")
    def one_run(run: str) -> str:
        return page("run.html", **_overview(folder, run))

    @app.get("/run/now")
    def one_run_now(run: str) -> str:
        return page("run_now.html", part=True, **_overview(folder, run))

    @app.get("/candidates")
    async def candidates(request: Request, run: str) -> str:
        wanted = Wanted.of(request.query_params)
        found = await shelf.read(run_at(folder, run), wanted.iteration, lambda book: listed(book, wanted))
        said = await run_in_threadpool(_named, folder, run)
        return page("candidates.html", tab="candidates", wanted=wanted, **said, **found)

    @app.get("/candidate")
    async def candidate(request: Request, run: str, id: str, sample: int, generator: str) -> str:
        wanted = Wanted.of(request.query_params)
        key = CandidateKey(wanted.iteration, id, sample, generator)
        found = await shelf.read(run_at(folder, run), wanted.iteration, lambda book: in_full(book, wanted, key))
        said = await run_in_threadpool(_named, folder, run)
        return page("candidate.html", tab="candidate", wanted=wanted, **said, **found)

    @app.get("/thresholds")
    async def thresholds(request: Request, run: str) -> str:
        return page("thresholds.html", **await moved(run, request.query_params))

    @app.get("/thresholds/effect")
    async def thresholds_effect(request: Request, run: str) -> str:
        return page("effect.html", part=True, **await moved(run, request.query_params))

    @app.post("/thresholds/save")
    async def thresholds_save(request: Request) -> str:
        said = await _form(request)
        run, name = said.get("run", ""), said.get("name", "").strip()

        def saving() -> dict[str, Any]:
            place = run_at(folder, run)
            rules = own_rules(place, Wanted.of(said).iteration)
            return save(place, moved_rules(rules, list(saved_recipe(place).scorers), said), name)

        kept = await run_in_threadpool(saving)
        return page("saved.html", kept=kept, **await run_in_threadpool(_named, folder, run))

    @app.get("/label")
    async def label(request: Request, run: str) -> str:
        return page("label.html", **await asked(run, request.query_params, lambda book, _, said: asked_now(book, said)))

    @app.post("/label/say")
    async def label_say(request: Request) -> str:
        said = await _form(request)
        return page("label_now.html", **await asked(said.get("run", ""), said, say))

    async def asked(run: str, said: Mapping[str, str], work: Callable[..., dict[str, Any]]) -> dict[str, Any]:
        wanted, place = Wanted.of(said), run_at(folder, run)
        found = await shelf.read(place, wanted.iteration, lambda book: work(book, place, said))
        return {"tab": "label", "wanted": wanted, **await run_in_threadpool(_named, folder, run), **found}

    async def moved(run: str, lines: Mapping[str, str]) -> dict[str, Any]:
        wanted, place = Wanted.of(lines), run_at(folder, run)
        named = await run_in_threadpool(_named, folder, run)

        def looked(book: Book) -> dict[str, Any]:
            rules = moved_rules(own_rules(place, wanted.iteration), list(book.pool.scores), lines)
            said = effect(book, place, named["run"], rules)
            return {**said, "lines": lines_of(own_rules(place, wanted.iteration), said["scorers"])}

        return {"tab": "thresholds", "wanted": wanted, **named, **await shelf.read(place, wanted.iteration, looked)}

    return app


async def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True))


def _runs(folder: Path) -> dict[str, Any]:
    listed = [_listed(folder, one) for one in runs_in(folder)]
    return {"folder": str(folder), "runs": listed, "at_work": any("at work" in one["state"] for one in listed)}


def _listed(folder: Path, said: dict[str, Any]) -> dict[str, Any]:
    """A run of the list with its name. Of one that a link leads to nothing is shown."""
    name = name_of(folder, Path(said["run"]))
    try:
        run_at(folder, name)
    except RunError as error:
        said = {"changed": said["changed"], "state": "can't be read", "error": str(error)}
    return {**said, "name": name, "title": _title(folder, name)}


def _overview(folder: Path, name: str) -> dict[str, Any]:
    run = run_at(folder, name)
    return {"tab": "overview", **_named(folder, name), **overview(run)}


def _named(folder: Path, name: str) -> dict[str, Any]:
    """What every page of a run says of it. `run` is as the user would type it."""
    with RunFolder.open(run_at(folder, name), write=False) as run:
        browsable = run.decided_iterations("policy")
    shown = str(folder / name if name != HERE else folder)
    return {"name": name, "title": _title(folder, name), "run": shown, "browsable": browsable}


def _title(folder: Path, name: str) -> str:
    return folder.resolve().name if name == HERE else name


def _failed(request: Request, error: Exception) -> HTMLResponse:
    """What went wrong, and what to do: a page of its own, or a part where only a part was asked for."""
    status, why = 400, str(error)
    if isinstance(error, HTTPException):
        status, why = error.status_code, "There is no such page." if error.status_code == 404 else error.detail
    if isinstance(error, RequestValidationError):
        why = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())
    part = "HX-Request" in request.headers
    return HTMLResponse(page("error_part.html" if part else "error.html", why=why, part=part), status)
