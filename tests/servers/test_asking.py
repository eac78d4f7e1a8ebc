"""Asking a server that fails: every question gets its own answer, or a reason."""

from __future__ import annotations

import asyncio
import gc
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any

import pytest
from fault_server import FAULTS
from faulty import Faulty

from rsft.errors import ServerError
from rsft.servers import Endpoint, Malformed, Server, Spending, Unanswered, asking, background, chat, limits

pytestmark = pytest.mark.usefixtures("quick")
Start = Callable[..., Faulty]
Make = Callable[..., Server]
CANARY = "sk-canary-8c1f0e"
PRICE = {"input": 0, "output": 1e6}  # 1 for each token written


def ask(server: Server, question: str, **law: Any) -> str:
    return server.finish(chat.answer(server, [{"role": "user", "content": question}], **law))


def is_answer(said: str, question: str) -> bool:
    return said.startswith(f"{question} – answer ")


def until(is_so: Callable[[], bool]) -> None:
    """Let the servers' loop go on until something is so."""
    for _ in range(1000):
        if is_so():
            return
        background.finish(asyncio.sleep(0.01))
    raise AssertionError("it never was so")


def refused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_each_of_many_questions_gets_its_own_answer_whatever_fails(fault_server: Start, server_at: Make) -> None:
    good, bad = fault_server(), fault_server("--faults", 0.2, "--seed", 0)
    questions = [f"Where is parcel {number}?" for number in range(300)]

    def answers(url: str) -> list[str]:
        server = server_at(url, timeout_seconds=5, attempts=12)
        asked = [
            server.start(chat.answer(server, [{"role": "user", "content": question}], seed=seed, max_tokens=500))
            for seed, question in enumerate(questions)
        ]
        said = [one.result() for one in asked]
        assert server.concurrency.flying == 0
        return said

    said = answers(bad.url)
    assert all(map(is_answer, said, questions))
    assert said == answers(good.url)
    assert set(bad.faults()) == set(FAULTS)  # every kind, and each was got over
    assert bad.seen()["posts"] >= 300 + sum(bad.faults().values())


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("429", "status 429"),
        ("429 in seconds", "status 429"),
        ("500", "status 500"),
        ("503", "status 503"),
        ("hang", "no answer within 1 s|the time was up"),
        ("cut", "the connection broke: .*without sending complete"),
        ("closed", "the connection broke: .*disconnected"),
        ("not json", "the answer is not JSON"),
        ("no choices", "the answer has no choices, not one"),
        ("null choices", "the answer has no choices, not one"),
        ("null content", "content is NoneType, not a text"),
        ("too few", "the answer has 0 choices, not one"),
        ("too many", "the answer has 2 choices, not one"),
        ("twice", "the answer has 2 choices, not one"),
        ("empty", "the answer is empty"),
    ],
)
def test_a_fault_that_does_not_pass_is_named(fault_server: Start, server_at: Make, fault: str, reason: str) -> None:
    faulty = fault_server("--faults", 1, "--only", fault)
    server = server_at(faulty.url, attempts=2, patience_seconds=0, timeout_seconds=1 if fault == "hang" else 60)
    with pytest.raises(Unanswered, match=f"failed 2 times, at last: .*({reason})"):
        ask(server, "Hello?")
    assert set(faulty.faults()) == {fault}
    assert server.concurrency.flying == 0


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("401", r"refuses a request without key \(401\)"),
        ("402", "wants to be paid first"),
        ("403", r"refuses a request without key \(403\)"),
        ("404", "can't be asked for 'fake': .*see to the server"),
    ],
)
def test_what_no_request_can_mend_stops_the_run(fault_server: Start, server_at: Make, fault: str, reason: str) -> None:
    faulty = fault_server("--faults", 1, "--only", fault)
    with pytest.raises(ServerError, match=reason):
        ask(server_at(faulty.url), "Hello?")
    assert faulty.faults() == {fault: 1}


def test_a_request_that_is_refused_as_it_is_is_not_asked_again(fault_server: Start, server_at: Make) -> None:
    faulty = fault_server("--faults", 1, "--only", "400")
    with pytest.raises(Unanswered, match=r"refuses the request \(400\): .*dealt: 400"):
        ask(server_at(faulty.url), "Hello?")
    assert faulty.faults() == {"400": 1}


def test_an_answer_that_python_can_not_nest_is_malformed() -> None:
    class Nested:
        async def post(self, *_: Any, **__: Any) -> Any:
            return self

        def json(self) -> Any:
            raise RecursionError("too deep")

    with pytest.raises(Malformed, match="not JSON: too deep"):
        asyncio.run(asking.post(Nested(), "/x", {}))  # type: ignore[arg-type]


@pytest.mark.parametrize(("fault", "least"), [("429 in seconds", 0.05), ("429 at a date", 0.0)])
def test_the_server_is_left_alone_as_long_as_it_asks(
    fault_server: Start, server_at: Make, monkeypatch: pytest.MonkeyPatch, fault: str, least: float
) -> None:
    asked_for: list[float | None] = []

    def spy(attempt: int, wanted: float | None, chance: Any) -> float:
        asked_for.append(wanted)
        return limits.wait_before(attempt, wanted, chance)

    monkeypatch.setattr(asking, "wait_before", spy)
    faulty = fault_server("--faults", 1, "--only", fault)
    with pytest.raises(Unanswered):
        ask(server_at(faulty.url, attempts=3, patience_seconds=0), "Hello?")
    first, second, third = faulty.seen()["arrivals"]
    assert all(wanted is not None and least <= wanted <= 1 for wanted in asked_for)
    assert len(asked_for) == 2
    assert second - first >= (asked_for[0] or 0)
    assert third - second >= (asked_for[1] or 0)


def test_concurrency_grows_while_all_goes_well(fault_server: Start, server_at: Make) -> None:
    faulty = fault_server("--delay", 0.02)
    server = server_at(faulty.url, first=4)
    wait([server.start(chat.answer(server, [{"role": "user", "content": str(n)}])) for n in range(200)])
    assert server.concurrency.limit > 8
    assert faulty.seen()["most"] > 4


def test_concurrency_falls_to_what_the_server_bears(fault_server: Start, server_at: Make) -> None:
    faulty = fault_server("--delay", 0.02, "--bears", 4)
    server = server_at(faulty.url, first=64, attempts=100)
    asked = [server.start(chat.answer(server, [{"role": "user", "content": str(n)}])) for n in range(150)]
    assert [is_answer(one.result(), str(n)) for n, one in enumerate(asked)] == [True] * 150
    assert server.concurrency.limit < 16
    assert faulty.faults()["overload"] > 0


def test_a_fixed_concurrency_is_kept(fault_server: Start, server_at: Make) -> None:
    faulty = fault_server("--delay", 0.01, "--faults", 0.3, "--only", "429")
    server = server_at(faulty.url, concurrency=3, attempts=50)
    wait([server.start(chat.answer(server, [{"role": "user", "content": str(n)}])) for n in range(60)])
    assert faulty.seen()["most"] == 3


def test_money_is_spent_up_to_the_cap(fault_server: Start, server_at: Make) -> None:
    faulty = fault_server()
    server = server_at(faulty.url, price=PRICE, max_cost=505)
    asked = [
        server.start(chat.answer(server, [{"role": "user", "content": "Hello?"}], max_tokens=10)) for _ in range(99)
    ]
    wait(asked)
    (sums,) = server._spending.sums.values()
    # An answer costs 10, and only the last one may go beyond the cap.
    assert 505 <= sums["cost"] < 515
    assert sums["requests"] == faulty.seen()["posts"] == 51
    failed = [one.exception() for one in asked if one.exception()]
    assert len(failed) == 99 - sums["requests"]
    assert all(isinstance(error, ServerError) and "max_cost is 505" in str(error) for error in failed)
    assert server.concurrency.flying == 0


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 429, 500])
def test_a_key_that_the_server_repeats_is_not_shown(
    fault_server: Start, server_at: Make, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("SHOP_KEY", CANARY)
    faulty = fault_server("--echo-key", status)
    server = server_at(faulty.url, key_env="SHOP_KEY", attempts=1, patience_seconds=0)
    with pytest.raises((ServerError, Unanswered)) as caught:
        ask(server, "Hello?")
    assert "who is Bearer [key]?" in str(caught.value)
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert CANARY not in repr(server)


def test_a_key_is_not_shown_where_a_reason_is_cut_through_it(server_at: Make) -> None:
    server = server_at("http://127.0.0.1:1/v1", key=CANARY)
    assert "sk-" not in server._hidden(ValueError("x" * 295 + " " + CANARY))


def test_a_key_is_not_shown_by_an_answer_that_can_not_be_used(fault_server: Start, server_at: Make) -> None:
    server = server_at(fault_server("--key", CANARY).url, key=CANARY, attempts=1)
    assert is_answer(ask(server, "Hello?"), "Hello?")

    async def send(client: Any) -> None:
        raise Malformed(f"it says {CANARY}")

    with pytest.raises(Unanswered, match=r"it says \[key\]"):
        server.finish(server.ask(send))


def test_nobody_there_is_waited_for_and_then_named(server_at: Make) -> None:
    server = server_at(f"http://127.0.0.1:{refused_port()}/v1", patience_seconds=0.2, attempts=1, tokens_per_minute=60)
    with pytest.raises(ServerError, match=r"can't be asked for 'fake'.*go on with rsft resume"):
        ask(server, "Hello?", max_tokens=3)
    # What nobody read was given back: the bucket is still full.
    assert server._tokens.take(60, server._tokens._seen) == 0


def test_nobody_there_is_waited_for_as_long_as_patience_says(server_at: Make) -> None:
    server = server_at(f"http://127.0.0.1:{refused_port()}/v1", patience_seconds=600)
    asked = server.start(chat.answer(server, [{"role": "user", "content": "Hello?"}]))
    with pytest.raises(TimeoutError):
        asked.result(0.5)
    asked.cancel()


def test_a_server_that_died_is_revived_once_for_all(fault_server: Start, server_at: Make) -> None:
    faulty = fault_server("--die-after", 10, "--delay", 0.02)
    revived = []

    def revive() -> None:
        faulty.process.wait(30)
        revived.append(fault_server("--port", faulty.port))

    server = server_at(faulty.url, revive=revive)
    asked = [server.start(chat.answer(server, [{"role": "user", "content": str(n)}])) for n in range(60)]
    assert [is_answer(one.result(), str(n)) for n, one in enumerate(asked)] == [True] * 60
    assert len(revived) == 1


def test_a_revival_that_fails_is_tried_once_and_told_to_all(server_at: Make) -> None:
    tried, may_fail = [], threading.Event()

    def revive() -> None:
        tried.append(1)
        may_fail.wait(30)
        raise ServerError("there is no hope")

    server = server_at(f"http://127.0.0.1:{refused_port()}/v1", revive=revive, concurrency=8)
    asked = [server.start(chat.answer(server, [{"role": "user", "content": str(n)}])) for n in range(8)]
    while not tried:
        wait(asked, 0.05)
    asked[0].cancel()  # the revival goes on for the others
    wait(asked, 0.3)
    may_fail.set()
    for one in asked[1:]:
        with pytest.raises(ServerError, match="there is no hope"):
            one.result()
    assert len(tried) == 1


def test_a_model_that_is_not_there_is_not_revived_for_ever(fault_server: Start, server_at: Make) -> None:
    faulty = fault_server("--faults", 1, "--only", "404")
    revived: list[int] = []
    with pytest.raises(ServerError, match="can't be asked for 'fake'"):
        ask(server_at(faulty.url, revive=lambda: revived.append(1)), "Hello?")
    assert len(revived) == asking._REVIVALS


def test_a_revival_that_does_not_help_is_tried_while_patience_lasts(server_at: Make) -> None:
    revived: list[int] = []
    url = f"http://127.0.0.1:{refused_port()}/v1"
    server = server_at(url, revive=lambda: revived.append(1), patience_seconds=1)
    with pytest.raises(ServerError, match="can't be asked for 'fake'"):
        ask(server, "Hello?")
    assert len(revived) > asking._REVIVALS


def test_a_revival_that_hangs_does_not_keep_a_process_from_ending() -> None:
    program = f"""
import threading
from rsft.servers import Endpoint, Server, chat
begun = threading.Event()
def revive():
    begun.set()
    threading.Event().wait(600)
server = Server(Endpoint(url="http://127.0.0.1:{refused_port()}/v1", model="fake"), revive=revive)
server.start(chat.answer(server, [{{"role": "user", "content": "Hello?"}}]))
print(begun.wait(100))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_a_cancelled_request_leaves_its_hole_to_the_next(
    fault_server: Start, server_at: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty = fault_server()
    server = server_at(faulty.url, concurrency=1)

    async def scene() -> str:
        gate, begun = asyncio.Event(), asyncio.Event()

        async def held(_: Any) -> None:
            begun.set()
            await gate.wait()

        async def question(text: str) -> str:
            return await chat.answer(server, [{"role": "user", "content": text}])

        first = asyncio.create_task(server.ask(held))
        await begun.wait()
        second, third = asyncio.create_task(question("second")), asyncio.create_task(question("third"))
        await asyncio.sleep(0)
        assert len(server._holes) == 2
        wake = server._wake

        def wake_and_cancel() -> None:
            wake()
            second.cancel()  # before it can hear that it was woken

        monkeypatch.setattr(server, "_wake", wake_and_cancel)
        gate.set()
        await first
        said = await asyncio.wait_for(third, 30)
        assert second.cancelled()
        return said

    assert is_answer(server.finish(scene()), "third")
    assert server.concurrency.flying == 0


def test_flights_that_are_cancelled_land(fault_server: Start, server_at: Make) -> None:
    faulty = fault_server("--faults", 1, "--only", "hang")
    server = server_at(faulty.url, concurrency=2)
    asked: list[Future[str]] = [
        server.start(chat.answer(server, [{"role": "user", "content": str(n)}])) for n in range(4)
    ]
    while faulty.seen()["posts"] < 2:
        wait(asked, 0.05)
    for one in asked:
        one.cancel()
    until(lambda: server.concurrency.flying == 0 and not server._holes)


def test_rates_are_settled_by_what_was_used(fault_server: Start, server_at: Make) -> None:
    server = server_at(fault_server().url, tokens_per_minute=100_000)
    ask(server, "Hello?", max_tokens=50_000)
    (sums,) = server._spending.sums.values()
    used = sums["read"] + sums["written"]
    assert 10 < used < 100
    assert server._tokens._level == pytest.approx(100_000 - used)


def test_requests_come_no_faster_than_they_may(fault_server: Start, server_at: Make) -> None:
    faulty = fault_server()
    server = server_at(faulty.url, requests_per_minute=600)
    began = server._requests._seen
    server._requests.take(600, began)  # a minute's worth is gone
    wait([server.start(chat.answer(server, [{"role": "user", "content": str(n)}])) for n in range(5)])
    arrivals = faulty.seen()["arrivals"]
    assert len(arrivals) == 5
    assert all(arrival - began > 0.099 * number for number, arrival in enumerate(arrivals, 1))


def test_a_closed_server_may_be_asked_again(fault_server: Start, server_at: Make) -> None:
    server = server_at(fault_server().url)
    ask(server, "Hello?")
    before = server.client
    server.close()
    server.close()
    assert before.is_closed()
    assert is_answer(ask(server, "Again?"), "Again?")


def test_the_client_of_a_server_that_is_gone_is_closed(fault_server: Start) -> None:
    server = Server(Endpoint(url=fault_server().url, model="fake"), spending=Spending())
    ask(server, "Hello?")
    client = server.client
    del server
    gc.collect()
    until(client.is_closed)


def test_servers_that_are_first_asked_by_many_threads_share_one_loop(fault_server: Start, server_at: Make) -> None:
    server = server_at(fault_server().url)
    said: dict[int, str] = {}
    threads = [threading.Thread(target=lambda n=n: said.__setitem__(n, ask(server, str(n)))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(is_answer(said[n], str(n)) for n in range(8))
