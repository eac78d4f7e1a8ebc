"""Asking one server: no more at a time than it bears, no faster than it may, and again where it failed."""

from __future__ import annotations

import asyncio
import json
import random
import time
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import islice
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
# How often it may be revived without answering anything in between, and longer only while patience lasts.
_REVIVALS = 3


class Unanswered(Exception):
    """A request that got no answer that can be used: refused as it is, or failed as often as it may. Says why."""


class Refused(Unanswered):
    """The server refuses the request as it is: another like it would fare no better."""


class Malformed(Exception):
    """An answer that is none: cut, not of the protocol's form, or not to what was asked. Asking again may help."""


class _Failed(Exception):
    """One attempt failed, and another may do better."""

    def __init__(self, why: str, *, overloaded: bool = False, limited: bool = False, wait: float | None = None) -> None:
        super().__init__(why)
        self.overloaded = overloaded
        self.limited = limited
        self.wait = wait


class _Away(Exception):
    """Nobody listens there; or, `forgot`, somebody who does not know the model (any more)."""

    def __init__(self, why: str, *, forgot: bool = False) -> None:
        super().__init__(why)
        self.forgot = forgot


@dataclass(slots=True)
class _Flight:
    """One attempt: what `Concurrency.sent` said, how many tokens were taken for it, and how it went."""

    sent: int
    tokens: int
    overloaded: bool = False
    answered: bool = False


_FLIGHT: ContextVar[_Flight] = ContextVar("flight")
"""The attempt that is going on in this task."""


class Server:
    """One endpoint in use. It may be asked from any thread, and by several.

    `revive` is called in a thread of its own when the server is away, or has forgotten the model: it may start the
    server again, or wait until it is back. It raises a UserError where there is no hope. It is never called by two at
    a time, and while the server answers nothing only a few times, or as long as the recipe's patience lasts.
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
        self._revival: asyncio.Task[None] | None = None
        self._revived = 0
        self._in_vain = 0
        self._holes: dict[asyncio.Future[None], None] = {}
        self._reserved = 0.0
        self._client: AsyncOpenAI | None = None
        self._closing: weakref.finalize[Any, Any] | None = None

    @property
    def client(self) -> AsyncOpenAI:
        """OpenAI's client for this endpoint. Retries, limits and waiting are not its business. It is closed with the
        server, and at the latest when nobody holds that any more."""
        if self._client is None:
            self._client = self._open()
            self._closing = weakref.finalize(self, _close, self._client)
            self._closing.atexit = False
        return self._client

    def close(self) -> None:
        """End all connections, when nothing is asked any more. A server that is asked again opens new ones."""
        client, closing, self._client = self._client, self._closing, None
        if client is not None and closing is not None:
            closing.detach()
            background.finish(client.close())

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
        away_since: float | None = None
        began = time.monotonic()
        while True:
            self._spending.check(self.endpoint)
            revived = self._revived
            try:
                return await self._once(send, tokens)
            except _Away as error:
                now = time.monotonic()
                away_since = now if away_since is None else away_since
                await self._wait_for_its_return(error, now - away_since, revived)
            except _Failed as error:
                failures += 1
                away_since = None
                # A rate that is used up comes back in its time: it is waited for like a server that is away.
                is_patient = error.limited and time.monotonic() - began < self.endpoint.patience_seconds
                if failures >= self.endpoint.attempts and not is_patient:
                    raise Unanswered(f"the server failed {failures} times, at last: {error}") from None
                await asyncio.sleep(wait_before(failures, error.wait, self._chance))

    def models(self) -> list[str]:
        """The names of the models that it serves. Raises ServerError where it does not say."""

        async def send(client: AsyncOpenAI) -> list[str]:
            return [model.id async for model in client.models.list()]

        try:
            found = self.finish(self.ask(send))
        except Unanswered as error:
            raise ServerError(f"The server {self.endpoint.url} does not say what it serves: {error}") from None
        if not found:
            raise ServerError(f"The server {self.endpoint.url} serves no model.")
        return found

    def tell(self, path: str, body: Mapping[str, Any]) -> str:
        """What the server answers to a POST that is no question, such as to load something: one attempt, at once, from
        any thread. Raises Unanswered with what it has against it."""
        import httpx2
        import openai

        async def send() -> str:
            response = await self.client.post(path, cast_to=httpx2.Response, body=body)
            return str(response.text)

        try:
            return background.finish(send())
        except openai.APIError as error:
            raise Unanswered(self._hidden(error)) from None

    def count(self, read: int, written: int) -> None:
        """So many tokens were read and written for an answer. To be said in `send`, once; 0 where nothing is known."""
        self._spending.add(self.endpoint, read, written)
        flight = _FLIGHT.get(None)
        if flight is not None and read + written:
            self._tokens.give_back(flight.tokens - read - written)
            flight.tokens = read + written

    # -- inside ------------------------------------------------------------------------------------------------------

    def _open(self) -> AsyncOpenAI:
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

    async def _once(self, send: Callable[[AsyncOpenAI], Awaitable[T]], tokens: int) -> T:
        price = self.endpoint.price
        cost = max(price.of(tokens, 0), price.of(0, tokens)) if price is not None else 0.0
        await self._may_fly(cost)
        flight = _Flight(self.concurrency.sent(), tokens)
        self._reserved += cost
        before = _FLIGHT.set(flight)
        try:
            await self._keep_pace(tokens)
            return await self._fly(send, flight)
        finally:
            _FLIGHT.reset(before)
            self._reserved -= cost
            self.concurrency.over(flight.sent, overloaded=flight.overloaded, answered=flight.answered)
            self._wake()

    async def _fly(self, send: Callable[[AsyncOpenAI], Awaitable[T]], flight: _Flight) -> T:
        client = self.client  # which may have to be loaded first: the server has no part in that
        try:
            async with asyncio.timeout(self.endpoint.timeout_seconds):
                said = await send(client)
        except TimeoutError:
            flight.overloaded = True
            raise _Failed(f"no answer within {self.endpoint.timeout_seconds:g} s", overloaded=True) from None
        except Malformed as error:
            self._is_there()
            raise _Failed(self._hidden(error)) from None
        except Exception as error:
            found = self._read(error)
            if found is None:
                raise
            if isinstance(found, _Failed):
                flight.overloaded = found.overloaded
            if isinstance(found, _Away):  # it read nothing
                self._give_back(flight.tokens)
            try:
                raise found from None
            finally:
                # An error that its own frame knows by name stays until the garbage is collected, with all that the
                # request holds; and half-read streams that are closed then are closed from any thread, all at once.
                del found
        flight.answered = True
        self._is_there()
        return said

    async def _may_fly(self, cost: float) -> None:
        """Wait, in turn, for a hole. Where the money may not do for all that fly, one flies after the other."""
        while not self.concurrency.room or (self.concurrency.flying and self._is_too_dear(cost)):
            hole = asyncio.get_running_loop().create_future()
            self._holes[hole] = None
            try:
                await hole
                self._spending.check(self.endpoint)
            except BaseException:
                self._holes.pop(hole, None)
                self._wake()  # somebody else, if it was this one's turn
                raise

    def _is_too_dear(self, cost: float) -> bool:
        most = self.endpoint.max_cost
        return most is not None and self._spending.cost(self.endpoint) + self._reserved + cost > most

    def _wake(self) -> None:
        """Those whose turn it is look again whether they may fly."""
        for hole in list(islice(self._holes, self.concurrency.room)):
            del self._holes[hole]
            if not hole.done():
                hole.set_result(None)

    async def _keep_pace(self, tokens: int) -> None:
        """Wait until the rates allow a request of so many tokens. Those who wait keep their hole, or all of them would
        fly at once when a slow server is quick again."""
        now = time.monotonic()
        pause = max(self._requests.take(1, now), self._tokens.take(tokens, now))
        if pause:
            try:
                await asyncio.sleep(pause)
            except asyncio.CancelledError:
                self._give_back(tokens)
                raise

    def _give_back(self, tokens: int) -> None:
        """A request was not sent after all."""
        self._requests.give_back(1)
        self._tokens.give_back(tokens)

    def _is_there(self) -> None:
        """The server said something of its own."""
        self._in_vain = 0

    def _read(self, error: Exception) -> Exception | None:
        """What an error of the client's means; None of one that is not the client's."""
        import httpx2
        import openai

        if isinstance(error, openai.APITimeoutError):
            if isinstance(error.__cause__, httpx2.ConnectTimeout):
                return _Away("no connection came about")
            return _Failed("the time was up", overloaded=True)
        if isinstance(error, openai.APIConnectionError):
            if isinstance(error.__cause__, httpx2.ConnectError):
                return _Away(self._hidden(error.__cause__))
            return _Failed(f"the connection broke: {self._hidden(error.__cause__ or error)}")
        if isinstance(error, httpx2.HTTPError):  # while a stream was read
            return _Failed(f"the connection broke: {self._hidden(error)}")
        if isinstance(error, openai.APIStatusError):
            return self._read_status(error)
        if isinstance(error, (openai.APIError, json.JSONDecodeError, UnicodeDecodeError)):
            return _Failed(f"the answer can't be read: {self._hidden(error)}")
        return None

    def _read_status(self, error: Any) -> Exception:
        status, said = error.status_code, self._hidden(error)
        where = f"The server {self.endpoint.url}"
        if status in (401, 403):
            key = f"the key in {self.endpoint.key_variable}" if self.endpoint.key_variable else "a request without key"
            return ServerError(f"{where} refuses {key} ({status}): {said}")
        if status == 404:
            return _Away(f"it says {said}", forgot=True)
        if status == 402 or "insufficient_quota" in str(error):
            return ServerError(f"{where} wants to be paid first ({status}): {said}")
        self._is_there()
        if status in (408, 409, 425, 429) or status >= 500:
            wait = retry_after(error.response.headers, time.time())
            return _Failed(
                f"status {status}: {said}", overloaded=status in (408, 429, 503, 529), limited=status == 429, wait=wait
            )
        return Refused(f"the server refuses the request ({status}): {said}")

    def _hidden(self, error: BaseException) -> str:
        """What an error says, in one line, without the key, should the server repeat that."""
        said = str(error)
        return _one_line(said.replace(self._key, "[key]") if self._key else said) or type(error).__name__

    async def _wait_for_its_return(self, error: _Away, away: float, revived: int) -> None:
        """Wait until the server may be asked again, which has been away for so many seconds, and had been revived so
        often when it was asked. Raises ServerError where that takes too long."""
        if self.revive is None:
            if error.forgot or away > self.endpoint.patience_seconds:
                raise self._lost(error)
            await asyncio.sleep(_AWAY_SECONDS)
            return
        if self._revival is None or (self._revival.done() and self._revived == revived):
            if self._in_vain >= _REVIVALS and (error.forgot or away > self.endpoint.patience_seconds):
                raise self._lost(error)
            self._revival = asyncio.create_task(self._revive(self.revive, _AWAY_SECONDS if self._in_vain else 0))
            self._in_vain += 1
            self._revival.add_done_callback(self._was_revived)
        await asyncio.shield(self._revival)  # it goes on for the others when this request is cancelled

    async def _revive(self, revive: Callable[[], None], pause: float) -> None:
        await asyncio.sleep(pause)
        await background.aside(revive)

    def _was_revived(self, revival: asyncio.Task[None]) -> None:
        self._revived += 1
        if not revival.cancelled():
            revival.exception()  # those who waited for it raise that; if none did, nobody misses it

    def _lost(self, error: _Away) -> ServerError:
        return ServerError(
            f"The server {self.endpoint.url} can't be asked for '{self.endpoint.model}': {error}. What was drawn is "
            "kept: see to the server, and go on with rsft resume."
        )


def _close(client: AsyncOpenAI) -> None:
    """Have a client closed that nobody uses any more; not waited for, for this may be the loop's own thread."""
    background.start(client.close())


async def post(client: AsyncOpenAI, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object that comes back from a POST. Raises Malformed where none does."""
    import httpx2

    response = await client.post(path, cast_to=httpx2.Response, body=body)
    try:
        said = response.json()
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the answer is not JSON: {_one_line(str(error))}") from None
    if not isinstance(said, dict):
        raise Malformed(f"the answer is {type(said).__name__}, not a JSON object")
    return said


def _one_line(said: str) -> str:
    return " ".join(said.split())[:300]
