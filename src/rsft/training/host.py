"""The fine-tuning API of a host, as OpenAI has it: files, jobs, and what happens in them."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import quote

from rsft import failpoints
from rsft.errors import TrainingError
from rsft.servers import Endpoint, Malformed, Server, Unanswered
from rsft.servers.asking import post

if TYPE_CHECKING:
    from openai import AsyncOpenAI

T = TypeVar("T")

_log = logging.getLogger("rsft")

MARK = "rsft"
"""The key of a job's metadata that holds the training's identity."""
OVER = ("failed", "cancelled")
"""How a job ends that comes to nothing."""

# What a page holds, and how many of the newest jobs are looked through for one of ours.
_PAGE, _PAGES = 100, 10
# How much of what a host says is repeated.
_SAID = 500


@dataclass(frozen=True, slots=True)
class HostedJob:
    """How a job stands. `model` is the name of what it trained, once it succeeded; `why` says why it did not."""

    id: str
    status: str
    model: str | None
    why: str
    trained_tokens: int | None


class Host:
    """One server in use. Each method raises TrainingError where the host refuses, or can't do what is asked for, and
    ServerError where it is away, or refuses the key."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.url = endpoint.url
        self._key = endpoint.key()
        self._server = Server(endpoint, key=self._key)

    def __enter__(self) -> Host:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.finish(self._server.client.close())

    def upload(self, name: str, content: bytes) -> str:
        """Bring a file of rows there. Returns its name at the host."""

        async def send(client: AsyncOpenAI) -> str:
            answer = await client.files.with_raw_response.create(file=(name, content), purpose="fine-tune")
            return _text(_object(answer.http_response), "id")

        return self._ask(send, "keep the rows")

    def start(self, wanted: Mapping[str, Any]) -> str:
        """Start a job, or find the one that was started for the same before, whoever did not live to write that down.

        Whatever went wrong the last time, a job may have come of it: one looks each time. Returns its name.
        """

        async def send(client: AsyncOpenAI) -> str:
            if (there := await _started(client, wanted)) is not None:
                return there
            return _text(await post(client, "/fine_tuning/jobs", wanted), "id")

        job = self._ask(send, "start a fine-tuning job")
        failpoints.reached("hosted.started")
        return job

    def job(self, job: str) -> HostedJob | None:
        """How a job stands; None where the host knows of none."""

        async def send(client: AsyncOpenAI) -> HostedJob | None:
            said = await _get(client, f"/fine_tuning/jobs/{quote(job, safe='')}")
            return None if said is None else self._read(said)

        return self._ask(send, f"say how the job {job} stands")

    def events(self, job: str, known: Collection[str]) -> list[dict[str, Any]]:
        """What happened in a job, in order, that is not known yet; nothing where the host does not say: no training
        fails for that."""

        async def send(client: AsyncOpenAI) -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = []
            after: dict[str, str] = {}
            while (page := await _page(client, f"/fine_tuning/jobs/{quote(job, safe='')}/events", after)) is not None:
                found += (event for event in page.found if event["id"] not in known)
                if page.last is None or page.last in known:
                    break
                after = {"after": page.last}
            return found[::-1]

        try:
            return self._server.finish(self._server.ask(send))
        except Unanswered as error:
            _log.warning("The host %s does not say what happens in the job %s: %s", self.url, job, self.harmless(error))
            return []

    def count(self, tokens: int) -> None:
        """So many tokens were trained on, and must be paid."""
        self._server.count(tokens, 0)

    def harmless(self, said: Any) -> str:
        """What a host says, as it may be shown: one line without the key and without what moves a terminal's cursor."""
        line = " ".join("".join(c if c.isprintable() else " " for c in str(said)).split())[:_SAID]
        return line.replace(self._key, "[key]") if self._key else line

    # -- inside ------------------------------------------------------------------------------------------------------

    def _ask(self, send: Callable[[AsyncOpenAI], Awaitable[T]], what: str) -> T:
        try:
            return self._server.finish(self._server.ask(send))
        except Unanswered as error:
            raise TrainingError(
                f"The host {self.url} does not {what}: {self.harmless(error)}. What it did before is kept: mend this, "
                "and go on with rsft resume."
            ) from None

    def _read(self, said: Mapping[str, Any]) -> HostedJob:
        error = said.get("error")
        why = error.get("message") or error.get("code") if isinstance(error, Mapping) else error
        model, tokens = said.get("fine_tuned_model"), said.get("trained_tokens")
        return HostedJob(
            _text(said, "id"),
            _text(said, "status"),
            model if _is_name(model) else None,
            self.harmless(why or "the host does not say why"),
            tokens if isinstance(tokens, int) else None,
        )


def step_of(event: Mapping[str, Any]) -> tuple[dict[str, Any], int] | None:
    """What an event says of a step, as a training logs it, and how many steps there are; None for any other event."""
    data = event.get("data")
    if not isinstance(data, Mapping) or not _is_count(data.get("step")):
        return None
    step, total = int(data["step"]), data.get("total_steps")
    others = {key: value for key, value in data.items() if key not in ("step", "total_steps") and _is_number(value)}
    loss = {"loss": others.pop("train_loss")} if "train_loss" in others else {}
    return {"step": step, **loss, **others}, int(total or 0) if _is_count(total) else step


async def _started(client: AsyncOpenAI, wanted: Mapping[str, Any]) -> str | None:
    """The job that is there on these very rows, or for a training of this identity; None if there is none, or none that
    may still come to something."""
    after: dict[str, str] = {}
    for _ in range(_PAGES):
        page = await _page(client, "/fine_tuning/jobs", after)
        for job in page.found if page else ():
            if job.get("status") not in OVER and await _is_ours(client, job, wanted):
                return str(job["id"])
        if page is None or page.last is None:
            break
        after = {"after": page.last}
    return None


async def _is_ours(client: AsyncOpenAI, job: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    if job.get("training_file") == wanted["training_file"]:
        return True
    noted = job.get("metadata")
    if not isinstance(noted, Mapping) or noted.get(MARK) != wanted["metadata"][MARK]:
        return False
    # Of a training that was done long ago the model may have been removed.
    model = job.get("fine_tuned_model")
    return not model or await _get(client, f"/models/{quote(str(model), safe=':')}") is not None


@dataclass(frozen=True, slots=True)
class _Page:
    """A page of a list, and the name of its last thing if others follow."""

    found: list[dict[str, Any]]
    last: str | None


async def _page(client: AsyncOpenAI, path: str, after: Mapping[str, str]) -> _Page | None:
    said = await _get(client, path, {"limit": str(_PAGE), **after})
    if said is None:
        return None
    found = said.get("data")
    if not isinstance(found, list) or not all(isinstance(one, dict) and _is_name(one.get("id")) for one in found):
        raise Malformed("the answer is no list of things with ids")
    return _Page(found, str(found[-1]["id"]) if found and said.get("has_more") is True else None)


async def _get(client: AsyncOpenAI, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any] | None:
    """The JSON object that a GET brings; None where there is no such thing."""
    import httpx2
    import openai

    try:
        return _object(await client.get(path, cast_to=httpx2.Response, options={"params": dict(query or {})}))
    except openai.NotFoundError:
        return None


def _object(answer: Any) -> dict[str, Any]:
    try:
        said = answer.json()
    except ValueError:
        raise Malformed("the answer is not JSON") from None
    if not isinstance(said, dict):
        raise Malformed(f"the answer is {type(said).__name__}, not a JSON object")
    return said


def _text(said: Mapping[str, Any], key: Literal["id", "status"]) -> str:
    if not _is_name(text := said.get(key)):
        raise Malformed(f"the answer has no '{key}'")
    return str(text)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and value.isprintable()


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
