"""Asking one server: no more at a time than it bears, no faster than it may, and again where it failed."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import AsyncExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from rsft.errors import ServerError
from rsft.servers import background
from rsft.servers.endpoint import Endpoint
from rsft.servers.limits import Concurrency, Rate, retry_after, wait_before
from rsft.servers.spending import SPENDING, Spending

if TYPE_CHECKING:
    from openai import AsyncOpenAI

T = TypeVar("T")

# How long a connection may take to come about.
_CONNECT_SECONDS = 10.0
# How often a server that is away is tried.
_AWAY_SECONDS = 0.5


class Unanswered(Exception):
    """A request that got no answer that can be used: refused as it is, or failed as often as it may. Says why."""


class Refused(Unanswered):
    """The server refuses the request as it is: another like it would fare no better."""


class Malformed(Exception):
    """An answer that is none: cut, not of the protocol's form, or not to what was asked. Asking again may help."""


class _Failed(Exception):
    """One attempt failed, and another may do better."""

    def __init__(self, why: str, *, overloaded: bool = False, wait: float | None = None) -> None:
        super().__init__(why)
        self.overloaded = overloaded
        self.wait = wait


class _Away(Exception):
    """Nobody listens there; or, `forgot`, somebody who does not know the model (any more)."""

    def __init__(self, why: str, *, forgot: bool = False) -> None:
        super().__init__(why)
        self.forgot = forgot


class Server:
    """One endpoint in use. It may be asked from any thread, and by several.

    `revive` is called in a thread of its own when the server is away, or has forgotten the model: it may start the
    server again, or wait until it is back. It raises a UserError where there is no hope.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        key: str | None = None,
        first: int | None = None,
        revive: Callable[[], None] | None = None,
        spending: Spending = SPENDING,
        seed: int = 0,
    ) -> None:
        self.endpoint = endpoint
        self.revive = revive
        self._key = key if key is not None else endpoint.key()
        self.concurrency = Concurrency(endpoint.concurrency, *([] if first is None else [first]))
        self._requests = Rate(endpoint.requests_per_minute, time.monotonic())
        self._tokens = Rate(endpoint.tokens_per_minute, time.monotonic())
        self._chance = random.Random(seed)
        self._spending = spending
        self._heard = time.monotonic()
        self._reviving = asyncio.Lock()
        self._revived = 0
        self._holes: set[asyncio.Future[None]] = set()

    @cached_property
    def client(self) -> AsyncOpenAI:
        """OpenAI's client for this endpoint. Retries, limits and waiting are not its business."""
        from httpx2 import Limits
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient, Timeout

        limits = Limits(max_connections=None, max_keepalive_connections=None)
        timeout = Timeout(self.endpoint.timeout_seconds, connect=_CONNECT_SECONDS)
        return AsyncOpenAI(
            base_url=self.endpoint.url,
            api_key=self._key or "none",
            max_retries=0,
            timeout=timeout,
            http_client=DefaultAsyncHttpxClient(limits=limits, timeout=timeout, trust_env=not self.endpoint.is_here),
        )

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Have something done in which the server is asked, beside what goes on here."""
        return background.start(work)

    def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """The same, and wait for it."""
        return background.finish(work)

    async def post(self, path: str, body: Mapping[str, Any], tokens: int = 0) -> dict[str, Any]:
        """The JSON object that the server answers to a POST. See `ask`."""

        async def send(client: AsyncOpenAI) -> dict[str, Any]:
            return await post(client, path, body)

        return await self.ask(send, tokens)

    async def ask(self, send: Callable[[AsyncOpenAI], Awaitable[T]], tokens: int = 0) -> T:
        """What `send` makes of the server's answer. It is called again after each failure that may pass, and raises
        Malformed for an answer that is none. `tokens` says about how many the request will read and write.

        Raises Unanswered where the request is refused, or failed as often as it may; ServerError where no request will
        do any better: a wrong key, no such model, nobody there for as long as the recipe waits, all money spent.
        """
        failures = 0
        while True:
            self._spending.check(self.endpoint)
            revived = self._revived
            try:
                return await self._once(send, tokens)
            except _Away as error:
                await self._wait_for_its_return(error, revived)
            except _Failed as error:
                failures += 1
                if failures >= self.endpoint.attempts:
                    raise Unanswered(f"the server failed {failures} times, at last: {error}") from None
                await asyncio.sleep(wait_before(failures, error.wait, self._chance))

    def count(self, read: int, written: int) -> None:
        """So many tokens were read and written for an answer."""
        self._spending.add(self.endpoint, read, written)

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _once(self, send: Callable[[AsyncOpenAI], Awaitable[T]], tokens: int) -> T:
        now = time.monotonic()
        pause = max(self._requests.take(1, now), self._tokens.take(tokens, now))
        if pause:
            await asyncio.sleep(pause)
        async with AsyncExitStack() as flight:
            await self._may_fly()
            sent = self.concurrency.sent()
            outcome = {"overloaded": False, "answered": False}
            flight.callback(lambda: self._land(sent, **outcome))
            try:
                async with asyncio.timeout(self.endpoint.timeout_seconds):
                    said = await send(self.client)
            except TimeoutError:
                outcome["overloaded"] = True
                raise _Failed(f"no answer within {self.endpoint.timeout_seconds:g} s", overloaded=True) from None
            except Malformed as error:
                self._heard = time.monotonic()
                raise _Failed(str(error)) from None
            except Exception as error:
                found = self._read(error)
                outcome["overloaded"] = isinstance(found, _Failed) and found.overloaded
                raise found from (None if found is not error else error)
            outcome["answered"] = True
            self._heard = time.monotonic()
            return said

    async def _may_fly(self) -> None:
        while not self.concurrency.room:
            hole = asyncio.get_running_loop().create_future()
            self._holes.add(hole)
            try:
                await hole
            finally:
                self._holes.discard(hole)

    def _land(self, sent: int, *, overloaded: bool, answered: bool) -> None:
        self.concurrency.over(sent, overloaded=overloaded, answered=answered)
        waiting = [hole for hole in self._holes if not hole.done()]
        for hole in waiting[: self.concurrency.room]:
            hole.set_result(None)

    def _read(self, error: Exception) -> Exception:
        """What an error of the client's means."""
        import httpx2
        import openai

        if isinstance(error, openai.APITimeoutError):
            if isinstance(error.__cause__, httpx2.ConnectTimeout):
                return _Away("no connection came about")
            return _Failed("the time was up", overloaded=True)
        if isinstance(error, openai.APIConnectionError):
            if isinstance(error.__cause__, httpx2.ConnectError):
                return _Away(str(error.__cause__) or "no connection came about")
            return _Failed(f"the connection broke: {_one_line(error.__cause__ or error)}")
        if isinstance(error, httpx2.HTTPError):  # while a stream was read
            return _Failed(f"the connection broke: {_one_line(error)}")
        if isinstance(error, openai.APIStatusError):
            self._heard = time.monotonic()
            return self._read_status(error)
        if isinstance(error, (openai.APIError, json.JSONDecodeError, UnicodeDecodeError)):
            return _Failed(f"the answer can't be read: {_one_line(error)}")
        return error

    def _read_status(self, error: Any) -> Exception:
        status, said = error.status_code, self._hide(_one_line(error))
        where = f"The server {self.endpoint.url}"
        if status in (401, 403):
            key = f"the key in {self.endpoint.key_variable}" if self.endpoint.key_variable else "a request without key"
            return ServerError(f"{where} refuses {key} ({status}): {said}")
        if status == 404:
            return _Away(f"it says {said}", forgot=True)
        if status == 402 or "insufficient_quota" in said:
            return ServerError(f"{where} wants to be paid first ({status}): {said}")
        if status in (408, 409, 425, 429) or status >= 500:
            wait = retry_after(error.response.headers, time.time())
            return _Failed(f"status {status}: {said}", overloaded=status in (408, 429, 503, 529), wait=wait)
        return Refused(f"the server refuses the request ({status}): {said}")

    def _hide(self, said: str) -> str:
        """What a server says, without the key, should it repeat that."""
        return said.replace(self._key, "[key]") if self._key else said

    async def _wait_for_its_return(self, error: _Away, revived: int) -> None:
        """Wait until the server may be asked again. Raises ServerError where that takes too long."""
        async with self._reviving:
            if self._revived > revived:
                return  # another request saw to it
            away = time.monotonic() - self._heard
            if self.revive is not None:
                await asyncio.to_thread(self.revive)
                self._heard = time.monotonic()
                self._revived += 1
                return
            if away > self.endpoint.patience_seconds or error.forgot:
                raise ServerError(
                    f"The server {self.endpoint.url} can't be asked for '{self.endpoint.model}': "
                    f"{error}. What was drawn is kept: see to the server, and go on with rsft "
                    "resume."
                )
        await asyncio.sleep(_AWAY_SECONDS)


async def post(client: AsyncOpenAI, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object that comes back from a POST. Raises Malformed where none does."""
    import httpx2

    response = await client.post(path, cast_to=httpx2.Response, body=body)
    try:
        said = response.json()
    except ValueError as error:
        raise Malformed(f"the answer is not JSON: {_one_line(error)}") from None
    if not isinstance(said, dict):
        raise Malformed(f"the answer is {type(said).__name__}, not a JSON object")
    return said


def _one_line(error: Any) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
