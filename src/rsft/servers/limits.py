"""How much a server is asked at once, how fast, and how soon again. Pure: time is an argument."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

# Requests at a time before anything is known of a server, and ever.
FIRST, MOST = 16, 512
# What an overloaded server is left with, of what it was asked at a time (RFC 9438 has the same share).
_CUT = 0.7
# Seconds: before the second attempt at most twice the first of these, then twice as long each time, up to the second. A
# server may ask for as much as the third.
_FIRST_WAIT, _LONGEST_WAIT, _LONGEST_ASKED_FOR = 0.5, 30.0, 300.0


class Concurrency:
    """How many requests a server bears at a time: more while all goes well, fewer when it is overloaded.

    Additive increase, multiplicative decrease (Chiu & Jain 1989), doubling each round until the first overload, as TCP
    does. `fixed` leaves nothing to find out. Requests that were sent before a cut can't cause another. A limit that is
    not used up tells nothing, and does not grow (RFC 7661); as in Linux, the doubling may run one round ahead of its
    use, for the answers of a round may come all at once.
    """

    def __init__(self, fixed: int | None = None, first: int = FIRST) -> None:
        self.limit = float(fixed or min(first, MOST))
        self.flying = 0
        self._is_fixed = fixed is not None
        self._cuts = 0
        self._most = 0  # that flew at a time since the last cut

    @property
    def room(self) -> int:
        """How many more requests may be sent now."""
        return max(0, int(self.limit) - self.flying)

    def sent(self) -> int:
        """A request is sent. Returns what to say when it is over."""
        self.flying += 1
        self._most = max(self._most, self.flying)
        return self._cuts

    def over(self, sent: int, *, overloaded: bool, answered: bool) -> None:
        """A request is over that was sent so: with an answer, without one, or for the server being overloaded."""
        self.flying -= 1
        if self._is_fixed:
            return
        if overloaded:
            if sent == self._cuts:
                self.limit = max(1.0, self.limit * _CUT)
                self._most = 0
                self._cuts += 1
        elif answered and int(self.limit) < (self._most + 1 if self._cuts else 2 * self._most):
            self.limit = min(MOST, self.limit + (1 / self.limit if self._cuts else 1))


class Rate:
    """So much a minute: a bucket that holds a minute's worth at most, and may be overdrawn, which is waited for."""

    def __init__(self, per_minute: float | None, now: float) -> None:
        self.per_minute = per_minute
        self._level = per_minute or 0.0
        self._seen = now

    def take(self, amount: float, now: float) -> float:
        """Take so much out. Returns the seconds to wait before it may be used."""
        if self.per_minute is None:
            return 0.0
        self._level = min(self.per_minute, self._level + (now - self._seen) * self.per_minute / 60) - amount
        self._seen = now
        return max(0.0, -self._level * 60 / self.per_minute)

    def give_back(self, amount: float) -> None:
        """Less (or, negative, more) was used than was taken."""
        if self.per_minute is not None:
            self._level += amount


def wait_before(attempt: int, asked_for: float | None, chance: random.Random) -> float:
    """Seconds before an attempt (1 is the first after a failure): ever longer, by lot, so that those who failed
    together do not come back together; never sooner than the server asked for, as far as that is within reason."""
    longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(attempt, 60))
    drawn = chance.uniform(longest / 4, longest)
    least = 0.0 if asked_for is None else min(asked_for, _LONGEST_ASKED_FOR) + chance.uniform(0, _FIRST_WAIT)
    return max(drawn, least)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that an answer asks to wait (RFC 9110, 10.2.3: a number or a date; some servers say milliseconds)."""
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return max(0.0, float(milliseconds) / 1000)
        said = headers.get("retry-after")
        if said is None:
            return None
        if said.strip().replace(".", "", 1).isdigit():
            return float(said)
        date = parsedate_to_datetime(said)
        return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)
    except (TypeError, ValueError, OverflowError):
        return None
