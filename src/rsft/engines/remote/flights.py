"""Which candidates are asked for when: as many requests as the server bears, none that nobody may want."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError as FutureCancelled
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue

from rsft.engines.base import CANCELLED, Cancelled, Pace, Request, Watch
from rsft.engines.remote.calls import Calls, Flight
from rsft.errors import ServerError
from rsft.servers import Unanswered
from rsft.types import Candidate, CandidateKey, SamplingParams

# How many prompts that may not go on are looked past, each time there is room for a request.
_LOOK_PAST = 512
# How often what waits for a server looks whether something was cancelled meanwhile.
_LOOK_SECONDS = 1.0
# So many requests that fail before anything was drawn mean that the server can't do what it is asked, if those that
# were sent before the first of them fail as well: it may refuse some prompts sooner than it answers others.
_REFUSED = 4

_Landed = tuple[Flight, Future[None]]
Fitting = Callable[[Sequence[Request]], tuple[Sequence[Request], Sequence[Candidate]]]


class Flights:
    """The requests of one `sample` call on their way to the server and back."""

    def __init__(
        self,
        calls: Calls,
        name: str,
        requests: Sequence[Request],
        watch: Watch | None,
        pace: Pace | None,
        cancelled: Cancelled,
        fitting: Fitting = lambda requests: (requests, ()),
    ) -> None:
        """`fitting` tells which further requests can be met, and of the others how they failed."""
        self._calls = calls
        self._name = name
        self._watch = watch
        self._pace = pace
        self._cancelled = cancelled
        self._inbox: SimpleQueue[Candidate | _Landed] = SimpleQueue()
        self._fitting = fitting
        self._waiting: deque[deque[Request]] = deque()
        self._await(requests)
        self._flying: dict[int, tuple[Flight, Future[None]]] = {}
        self._given: set[CandidateKey] = set()
        self._seen_cancelled = 0
        self._refused, self._has_drawn = 0, False
        self._first: set[int] | None = None  # what flew when the first request was refused

    def run(self) -> Iterator[Candidate]:
        """All candidates, each once. Raises a ServerError where no request will be answered any more."""
        try:
            while self._waiting or self._flying:
                yield from self._take_further()
                yield from self._drop_cancelled()
                self._take_off()
                if self._flying:
                    yield from self._arrivals()
                elif self._waiting and self._pace is not None:
                    self._pace.wait()
        finally:
            for _, future in self._flying.values():
                future.cancel()

    def _await(self, requests: Sequence[Request]) -> None:
        families: dict[tuple[str, SamplingParams], deque[Request]] = {}
        for request in sorted(requests, key=lambda request: request.key):
            families.setdefault((request.prompt.id, request.params), deque()).append(request)
        self._waiting.extend(families.values())

    def _take_further(self) -> Iterator[Candidate]:
        if self._pace is not None and (further := self._pace.further()):
            fitting, failed = self._fitting(further)
            self._await(fitting)
            yield from failed

    def _take_off(self) -> None:
        """Send requests while there is room."""
        server = self._calls.server
        while self._waiting and len(self._flying) < int(server.concurrency.limit):
            requests = self._next()
            if not requests:
                return
            flight = Flight(requests)
            future = server.start(self._calls.draw(self._name, flight, self._watch, self._inbox.put))
            self._flying[id(flight)] = (flight, future)
            future.add_done_callback(partial(self._land, flight))

    def _land(self, flight: Flight, future: Future[None]) -> None:
        self._inbox.put((flight, future))

    def _next(self) -> list[Request]:
        """What may go together now, of the first prompt and law that may go on: their indices follow each other."""
        for _ in range(min(len(self._waiting), _LOOK_PAST)):
            family = self._waiting[0]
            bound = self._pace.bound(family[0].prompt.id) if self._pace is not None else None
            most = 1 if self._watch is not None and self._calls.options.stream else self._calls.together
            found: list[Request] = []
            while family and len(found) < most and (bound is None or family[0].key.sample_index < bound):
                after = family[0].key.sample_index == (found[-1].key.sample_index + 1 if found else -1)
                if found and not after:
                    break
                found.append(family.popleft())
            if not family:
                self._waiting.popleft()
            elif not found:
                self._waiting.rotate(-1)
            if found:
                return found
        return []

    def _arrivals(self) -> Iterator[Candidate]:
        """What has come, as soon as something has."""
        try:
            arrived = self._inbox.get(timeout=_LOOK_SECONDS)
        except Empty:
            return
        if isinstance(arrived, Candidate):
            if arrived.key not in self._given:
                self._has_drawn = True
                self._given.add(arrived.key)
                yield arrived
        else:
            yield from self._landed(*arrived)

    def _landed(self, flight: Flight, future: Future[None]) -> Iterator[Candidate]:
        """What a flight leaves behind for which no candidate came: it was cancelled, or it failed."""
        del self._flying[id(flight)]
        error: BaseException | None
        try:
            error = future.exception()
        except FutureCancelled:
            error = None
        if error is not None and not isinstance(error, Unanswered):
            yield from self._drawn_before()
            raise error
        if error is not None:
            self._refused += 1
            self._first = set(self._flying) if self._first is None else self._first & self._flying.keys()
            if self._refused >= _REFUSED and not self._has_drawn and not self._first:
                raise ServerError(
                    f"The server {self._calls.server.endpoint.url} has drawn nothing: {error}. Of {self._refused} "
                    "requests none was met. See to the server, or to what the recipe asks of it (rsft doctor says what "
                    "it can do), and go on with rsft resume."
                )
        for request in flight.requests:
            if request.key in self._given:
                continue
            self._given.add(request.key)
            if error is None:
                draft = flight.drafts.get(request.key.sample_index)
                tokens = tuple(draft.token_ids or ()) if draft else ()
                yield Candidate(request.key, "", tokens, "cancelled", None, None, CANCELLED)
            else:
                yield Candidate(request.key, "", (), "failed", None, None, str(error))

    def _drawn_before(self) -> Iterator[Candidate]:
        """What came before all came to an end: it was paid for, and is not lost."""
        while not self._inbox.empty():
            arrived = self._inbox.get()
            if isinstance(arrived, Candidate) and arrived.key not in self._given:
                self._given.add(arrived.key)
                yield arrived

    def _drop_cancelled(self) -> Iterator[Candidate]:
        """End what is not wanted any more."""
        if len(self._cancelled) == self._seen_cancelled:
            return
        self._seen_cancelled = len(self._cancelled)
        for flight, future in list(self._flying.values()):
            if all(r.key in self._cancelled or r.key in self._given for r in flight.requests):
                future.cancel()
        left: deque[deque[Request]] = deque()
        for family in self._waiting:
            kept = deque(request for request in family if request.key not in self._cancelled)
            for request in family:
                if request.key in self._cancelled:
                    yield Candidate(request.key, "", (), "cancelled", None, None, CANCELLED)
            if kept:
                left.append(kept)
        self._waiting = left
