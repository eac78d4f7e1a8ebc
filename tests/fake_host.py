"""A host with OpenAI's fine-tuning API, in a thread: it takes files, and its jobs learn nothing."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from local_server import JsonHandler, listening

KEY = "sk-canary-4f1d2c"
STATES = ("validating_files", "queued", "running", "running", "succeeded")


@dataclass
class FakeHost:
    """What the host was asked for, and how it behaves.

    `faults` are answered first, in turn, to requests whose method and path begin so: a status, or `lost`, which does
    what was asked and then breaks the connection. `fails` are reasons for which the next jobs fail, when they run.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    faults: dict[str, deque[int | str]] = field(default_factory=dict)
    fails: deque[str] = field(default_factory=deque)
    removed_models: set[str] = field(default_factory=set)
    trained_tokens: int | None = 1200
    page: int = 2
    says_events: bool = True
    keeps_metadata: bool = True
    states: tuple[str, ...] = STATES

    def rows(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        """The rows that a job was to learn."""
        return [json.loads(line) for line in self.files[job["training_file"]].decode().splitlines()]

    # -- what it answers ---------------------------------------------------------------------------------------------

    def answer(self, method: str, target: str, kind: str, body: bytes) -> tuple[int, Any]:
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        if (method, path) == ("POST", "/v1/files"):
            return self._take(kind, body)
        if (method, path) == ("POST", "/v1/fine_tuning/jobs"):
            return self._start(json.loads(body))
        if (method, path) == ("GET", "/v1/fine_tuning/jobs"):
            return 200, self._listed(list(reversed(self.jobs.values())), query)
        if found := re.fullmatch(r"/v1/fine_tuning/jobs/([^/]+)", path):
            return self._stands(found[1])
        if (found := re.fullmatch(r"/v1/fine_tuning/jobs/([^/]+)/events", path)) and self.says_events:
            return 200, self._listed(self._events(found[1]), query)
        if found := re.fullmatch(r"/v1/models/(.+)", path):
            known = {job["fine_tuned_model"] for job in self.jobs.values()} - self.removed_models
            return (200, {"id": found[1]}) if unquote(found[1]) in known else (404, _error("no such model"))
        return 404, _error(f"no such path: {path}")

    def _take(self, kind: str, body: bytes) -> tuple[int, Any]:
        form = message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
        assert form.is_multipart()
        parts = {part.get_param("name", header="content-disposition"): part for part in form.get_payload()}
        assert parts["purpose"].get_payload() == "fine-tune"
        assert str(parts["file"].get_filename()).endswith(".jsonl")
        name = f"file-{len(self.files)}"
        self.files[name] = parts["file"].get_payload(decode=True)
        return 200, {"id": name, "object": "file", "status": "processed"}

    def _start(self, said: dict[str, Any]) -> tuple[int, Any]:
        if said["training_file"] not in self.files:
            return 400, _error(f"no such file: {said['training_file']}")
        name = f"ftjob-{len(self.jobs)}"
        job = {"id": name, "object": "fine_tuning.job", "asked": 0, "fine_tuned_model": None, **said}
        if not self.keeps_metadata:
            job["metadata"] = None
        self.jobs[name] = job | {"status": "validating_files", "error": None, "trained_tokens": None}
        return 200, self.jobs[name]

    def _stands(self, name: str) -> tuple[int, Any]:
        if name not in self.jobs:
            return 404, _error(f"no such job: {name}")
        job = self.jobs[name]
        if job["status"] in ("failed", "cancelled", "succeeded"):
            return 200, job
        job["status"] = self.states[min(job["asked"], len(self.states) - 1)]
        job["asked"] += 1
        rows = self.rows(job)
        bad = next((row for row in rows if row["messages"][-1]["role"] != "assistant"), None)
        if len(rows) < 10 or bad is not None:
            job |= {"status": "failed", "error": {"code": "invalid_training_file", "message": f"bad rows: {bad}"}}
        elif job["status"] == "running" and self.fails:
            job |= {"status": "failed", "error": {"code": "server_error", "message": self.fails.popleft()}}
        elif job["status"] == "succeeded":
            number = len([one for one in self.jobs.values() if one["fine_tuned_model"]])
            base = job["model"].removeprefix("ft:").split(":")[0]
            model = f"ft:{base}:org:{job.get('suffix') or ''}:{number}"
            job |= {"fine_tuned_model": model, "trained_tokens": self.trained_tokens}
        return 200, job

    def _events(self, name: str) -> list[dict[str, Any]]:
        """Newest first: a few words, then a step for each time that somebody asked."""
        said: list[dict[str, Any]] = [
            {"id": "event-0", "level": "info", "type": "message", "message": "Created", "data": None},
            {"id": "event-1", "level": "warn", "type": "message", "message": f"Slow \x1b[31m today, {KEY}"},
        ]
        for step in range(1, self.jobs[name]["asked"] + 1):
            data = {"step": step, "train_loss": 1 / step, "total_steps": len(self.states), "accuracy": 0.5, "no": None}
            said.append({"id": f"event-{step + 1}", "level": "info", "type": "metrics", "message": "", "data": data})
        return said[::-1]

    def _listed(self, found: list[dict[str, Any]], query: dict[str, list[str]]) -> dict[str, Any]:
        ids = [one["id"] for one in found]
        first = ids.index(query["after"][0]) + 1 if "after" in query else 0
        shown = found[first : first + self.page]
        return {"object": "list", "data": shown, "has_more": first + self.page < len(found)}


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "code": None, "param": None}}


@contextmanager
def serving(host: FakeHost) -> Iterator[FakeHost]:
    """Have the host answer at its url for a while."""

    class Handler(JsonHandler):
        def do_POST(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = f"{self.command} {urlsplit(self.path).path}"
            host.seen.append(asked)
            if self.headers.get("Authorization") != f"Bearer {KEY}":
                return self.say(401, _error(f"wrong key: {self.headers.get('Authorization')}, not {KEY}"))
            fault = next((faults for start, faults in host.faults.items() if faults and asked.startswith(start)), None)
            how = fault.popleft() if fault else None
            if isinstance(how, int):
                return self.say(how, _error(f"not now, {KEY}"))
            status, said = host.answer(self.command, self.path, self.headers.get("Content-Type", ""), body)
            if how == "lost":
                self.close_connection = True
                return None
            return self.say(status, said)

    with listening(Handler) as url:
        host.url = url + "/v1"
        yield host
