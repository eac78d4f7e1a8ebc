"""The list of runs, and a run at a glance: live while it is at work; and what its workers log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter

from rsft.errors import RunError
from rsft.listing import runs_in
from rsft.reading import workers_of
from rsft.store import RunFolder
from rsft.web.logs import LINES, logs_of
from rsft.web.overview import overview
from rsft.web.pages import page
from rsft.web.places import name_of
from rsft.web.site import Site


def routes(site: Site) -> APIRouter:
    router = APIRouter()

    @router.get("/")
    def runs() -> str:
        return page("runs.html", **_runs(site))

    @router.get("/runs")
    def runs_now() -> str:
        return page("runs_now.html", **_runs(site))

    @router.get("/run")
    def one_run(run: str) -> str:
        return page("run.html", **_overview(site, run))

    @router.get("/run/now")
    def one_run_now(run: str) -> str:
        return page("run_now.html", part=True, **_overview(site, run))

    @router.get("/worker")
    def worker(run: str, worker: str) -> str:
        place = site.run(run)
        with RunFolder.open(place, write=False) as folder:
            at_work = folder.writer_pid() is not None
        known = {one["name"]: one for one in workers_of(place, at_work=at_work).workers}
        logs = logs_of(place, worker)
        if worker not in known:
            raise RunError(f"{worker!r} is no worker of this run. Its overview has those that there are.")
        said = {"worker": known[worker], "logs": logs, "lines": LINES}
        return page("worker.html", tab="worker", **site.named(run), **said)

    return router


def _runs(site: Site) -> dict[str, Any]:
    listed = [_listed(site, one) for one in runs_in(site.folder)]
    return {"folder": str(site.folder), "runs": listed, "at_work": any("at work" in one["state"] for one in listed)}


def _listed(site: Site, said: dict[str, Any]) -> dict[str, Any]:
    """A run of the list with its name. Of one that a link leads to nothing is shown."""
    name = name_of(site.folder, Path(said["run"]))
    try:
        site.run(name)
    except RunError as error:
        said = {"changed": said["changed"], "state": "can't be read", "error": str(error)}
    return {**said, "name": name, "title": site.title(name)}


def _overview(site: Site, name: str) -> dict[str, Any]:
    run = site.run(name)
    return {"tab": "overview", **site.named(name), **overview(run)}
