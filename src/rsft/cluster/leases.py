"""Who works on which candidates: leases, pure bookkeeping that reads no clock and knows of no Ray.

A lease is a share: some candidates of one prompt whose sample indices follow each other. One worker holds it until all
of them have come, since what it has read of the prompt serves them all; how far it may go is told as the pace moves on.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from rsft.engines.base import CANCELLED, Cancelled, Request
from rsft.types import Candidate, CandidateKey

_SHARE = 32
"""Most candidates of a share: one prompt with thousands of them keeps many workers busy."""
# A worker has so many times what it works on at a time in its hands: the next is there before it runs short.
_AHEAD = 2
# A share is overtaken that has been out for so many times what shares take, and for so many seconds.
_SLOW, _SLOW_SECONDS = 4.0, 2.0
# How many shares of which nothing may begin are looked past, each time a worker runs short while others are at work.
_LOOK_PAST = 512
# How much the newest share counts in what shares take.
_NEWEST = 0.1


@dataclass(slots=True)
class News:
    """What a worker is to be told: further requests, how far prompts may go now, and what is not wanted any more."""

    requests: list[Request] = field(default_factory=list)
    bounds: dict[str, int] = field(default_factory=dict)
    cancelled: Cancelled = field(default_factory=Cancelled)

    def __bool__(self) -> bool:
        return bool(self.requests or self.bounds or len(self.cancelled))


@dataclass(slots=True, eq=False)
class _Share:
    """Candidates of one prompt that are leased together. `owed` are those that have not come, `startable` how many of
    these may begin."""

    prompt_id: str
    owed: dict[CandidateKey, Request]
    bound: int = 0
    startable: int = 0
    holders: list[_Hand] = field(default_factory=list)
    since: float = 0.0

    def move(self, bound: int) -> int:
        """Set how far it may go; returns by how much `startable` changed."""
        before, self.bound = self.startable, bound
        self.startable = sum(key.sample_index < bound for key in self.owed)
        return self.startable - before


@dataclass(slots=True, eq=False)
class _Hand:
    """What a worker holds, in the order in which it was leased, and how many of it may begin or have begun."""

    worker: str
    rows: int
    shares: dict[int, _Share] = field(default_factory=dict)
    startable: int = 0
    news: News = field(default_factory=News)
    told: dict[str, int] = field(default_factory=dict)


class Leases:
    """Leases requests to workers, takes back what they leave behind, and lets each candidate come once.

    `bound` is the pace's: the sample index before which a prompt's candidates may begin now; without one, all may.
    Whatever a worker does, every request is answered exactly once: by the first candidate of its key that comes, or,
    once it is cancelled and nobody works on it any more, as cancelled.
    """

    def __init__(self, requests: Sequence[Request], bound: Callable[[str], int] | None = None) -> None:
        self._bound = bound or (lambda _: sys.maxsize)
        self._hands: dict[str, _Hand] = {}
        self._share_of: dict[CandidateKey, _Share] = {}
        self._cancelled = Cancelled()
        self._usual: float | None = None
        self._pool: deque[_Share] = deque()
        self.overtaken = 0
        self._of_prompt: dict[str, list[_Share]] = {}
        by_prompt: dict[str, list[Request]] = {}
        for request in sorted(requests, key=lambda request: (request.key.sample_index, request.key.generator)):
            by_prompt.setdefault(request.prompt.id, []).append(request)
        longest = max(map(len, by_prompt.values()), default=0)
        for start in range(0, longest, _SHARE):  # the first candidates of all prompts go first
            for family in by_prompt.values():
                if part := family[start : start + _SHARE]:
                    self._pool.append(self._made(part))

    @property
    def owed(self) -> int:
        """How many requests are not answered yet."""
        return len(self._share_of)

    @property
    def in_the_making(self) -> int:
        """How many candidates workers hold that may begin or have begun."""
        return sum(hand.startable for hand in self._hands.values())

    @property
    def workers(self) -> int:
        """How many workers there are."""
        return len(self._hands)

    def join(self, worker: str, rows: int) -> None:
        """A worker has come, which works on so many candidates at a time."""
        self._hands[worker] = _Hand(worker, max(1, rows))

    def leave(self, worker: str) -> list[Candidate]:
        """A worker is gone. What it held goes to others, first of all; returns those of it that were cancelled."""
        gone: list[Candidate] = []
        if (hand := self._hands.pop(worker, None)) is None:
            return gone
        for share in reversed(hand.shares.values()):
            share.holders.remove(hand)
            if share.holders:
                continue
            gone += self._drop(share, [key for key in share.owed if key in self._cancelled])
            if share.owed:
                self._pool.appendleft(share)
        return gone

    def cancel(self, cancelled: Cancelled) -> list[Candidate]:
        """Heed what is cancelled by now. Those that nobody holds are answered at once; the others' holders are told,
        and answer with what they had drawn of them."""
        keys, prompts = cancelled.keys - self._cancelled.keys, cancelled.prompts - self._cancelled.prompts
        self._cancelled.keys |= keys
        self._cancelled.prompts |= prompts
        shares = [share for prompt_id in prompts for share in self._of_prompt.get(prompt_id, ())]
        shares += [self._share_of[key] for key in keys if key in self._share_of]
        gone: list[Candidate] = []
        for share in dict.fromkeys(shares):
            unwanted = [key for key in share.owed if key in self._cancelled]
            if not share.holders:
                gone += self._drop(share, unwanted)
            for hand in share.holders:
                if share.prompt_id in prompts:
                    hand.news.cancelled.prompts.add(share.prompt_id)
                else:
                    hand.news.cancelled.keys.update(unwanted)
        if gone:
            self._pool = deque(share for share in self._pool if share.owed)
        return gone

    def came(self, worker: str, candidates: Sequence[Candidate], now: float) -> list[Candidate]:
        """A worker's candidates; returns those that are the first of their keys. `now` is in seconds."""
        first: list[Candidate] = []
        moved: dict[str, None] = {}
        for candidate in candidates:
            share = self._share_of.get(candidate.key)
            if share is None:
                continue  # somebody was quicker
            if candidate.finish_reason == "cancelled" and candidate.key not in self._cancelled:
                continue  # it was another's by then, who has still to bring it
            first.append(candidate)
            moved[share.prompt_id] = None
            self._answered(share, candidate.key, worker)
            if not share.owed:
                self._finished(share, now)
        for prompt_id in moved:
            self._moved(prompt_id)
        return first

    def look(self) -> None:
        """Ask the pace about all prompts that somebody holds: it may have moved without a candidate of theirs."""
        for prompt_id in {share.prompt_id: None for hand in self._hands.values() for share in hand.shares.values()}:
            self._moved(prompt_id)

    def news(self, now: float) -> Iterator[tuple[str, News]]:
        """Lease what there is to whoever runs short; gives what the workers are to be told. `now` is in seconds."""
        short = [hand for hand in self._hands.values() if hand.startable < hand.rows]
        # One share each in turn: with little left, all have some of it.
        while short and self._pool:
            short = [hand for hand in short if hand.startable < _AHEAD * hand.rows and self._lease_next(hand, now)]
        for hand in self._hands.values():
            if hand.startable == 0:
                self._overtake(hand, now)
            if hand.news:
                news, hand.news = hand.news, News()
                yield hand.worker, news

    # -- inside ------------------------------------------------------------------------------------------------------

    def _made(self, requests: Sequence[Request]) -> _Share:
        share = _Share(requests[0].prompt.id, {request.key: request for request in requests})
        self._of_prompt.setdefault(share.prompt_id, []).append(share)
        for request in requests:
            self._share_of[request.key] = share
        return share

    def _lease_next(self, hand: _Hand, now: float) -> bool:
        """Lease the first share in the pool of which something may begin; False if there is none."""
        far = _LOOK_PAST if self.in_the_making else len(self._pool)
        for _ in range(min(far, len(self._pool))):
            share = self._pool.popleft()
            share.move(self._bound(share.prompt_id))
            if share.startable:
                self._lease(share, hand, now)
                return True
            self._pool.append(share)
        return False

    def _lease(self, share: _Share, hand: _Hand, now: float) -> None:
        share.since = now
        share.holders.append(hand)
        hand.shares[id(share)] = share
        hand.startable += share.startable
        hand.news.requests += share.owed.values()
        hand.news.cancelled.keys.update(key for key in share.owed if key in self._cancelled)
        hand.news.bounds[share.prompt_id] = hand.told[share.prompt_id] = share.bound

    def _overtake(self, hand: _Hand, now: float) -> None:
        """Give one who has nothing to do a share of another: one that this one has hardly begun, or is slow over."""
        best: _Share | None = None
        for other in self._hands.values():
            if other is hand or not other.startable:
                continue
            unbegun = other.startable > other.rows
            for share in reversed(other.shares.values()):
                out = now - share.since
                slow = self._usual is not None and out > max(_SLOW * self._usual, _SLOW_SECONDS)
                if share.startable and len(share.holders) == 1 and (unbegun or slow):
                    if best is None or share.startable > best.startable:
                        best = share
                    break
        if best is not None:
            self.overtaken += 1
            since = best.since
            self._lease(best, hand, now)
            best.since = since

    def _moved(self, prompt_id: str) -> None:
        """See how far a prompt may go now, and have its holders told."""
        bound: int | None = None
        for share in self._of_prompt.get(prompt_id, ()):
            if not share.holders:
                continue
            bound = self._bound(prompt_id) if bound is None else bound
            more = share.move(bound) if bound != share.bound else 0
            for hand in share.holders:
                hand.startable += more
                if hand.told.get(prompt_id) != bound:
                    hand.told[prompt_id] = hand.news.bounds[prompt_id] = bound

    def _answered(self, share: _Share, key: CandidateKey, by: str) -> None:
        del self._share_of[key], share.owed[key]
        begun = key.sample_index < share.bound
        share.startable -= begun
        for hand in share.holders:
            hand.startable -= begun
            if hand.worker != by:
                hand.news.cancelled.keys.add(key)

    def _finished(self, share: _Share, now: float) -> None:
        took = now - share.since
        self._usual = took if self._usual is None else (1 - _NEWEST) * self._usual + _NEWEST * took
        for hand in share.holders:
            del hand.shares[id(share)]
        share.holders.clear()
        self._forget(share)

    def _drop(self, share: _Share, keys: Sequence[CandidateKey]) -> list[Candidate]:
        """Answer what nobody holds and nobody wants."""
        for key in keys:
            self._answered(share, key, "")
        if not share.owed:
            self._forget(share)
        return [Candidate(key, "", (), "cancelled", None, None, CANCELLED) for key in keys]

    def _forget(self, share: _Share) -> None:
        shares = self._of_prompt[share.prompt_id]
        shares.remove(share)
        if not shares:
            del self._of_prompt[share.prompt_id]
