"""The engine 'openai' against a server that fails on purpose: each candidate comes once, and comes out the same."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import AsyncGeneratorType
from typing import Any, cast

import pytest
from faulty import Faulty

from answering import Asked, answering
from rsft.engines.base import Cancelled, Pace, Request, Watch, stream_seed
from rsft.engines.remote import OpenAIEngine, VllmEngine
from rsft.engines.remote.calls import Flight
from rsft.engines.remote.flights import Flights
from rsft.engines.remote.names import _PROBES, AdapterNames
from rsft.engines.remote.vllm import Serve
from rsft.errors import RecipeError, ServerError
from rsft.models.student import Student
from rsft.servers import SPENDING, Endpoint, Server, Unanswered
from rsft.types import Candidate, CandidateKey, Ended, Message, Policy, Prompt, SamplingParams

Start = Callable[..., Faulty]
LAW = SamplingParams(temperature=0.8, max_tokens=200)


OPENED: list[OpenAIEngine] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """What a test opens is closed."""
    yield
    while OPENED:
        OPENED.pop().close()


def engine_at(url: str, student: Student | None = None, **options: Any) -> OpenAIEngine:
    said = {"url": url, "model": "fake", "attempts": 15, "timeout_seconds": 30, **options}
    OPENED.append(OpenAIEngine.open(said, student, Path("unused")))
    return OPENED[-1]


def prompts(count: int) -> list[Prompt]:
    turns = [(Message("user", f"Where is parcel {number}?"),) for number in range(count)]
    return [Prompt(f"p{number}", said, said) for number, said in enumerate(turns)]


def requests(asked: Sequence[Prompt], candidates: int, law: SamplingParams = LAW) -> list[Request]:
    return [
        Request(
            CandidateKey(1, prompt.id, index, "g"),
            prompt,
            stream_seed(0, 1, prompt.id, index),
            law,
            stream_seed(0, 1, prompt.id, 0),
        )
        for prompt in asked
        for index in range(candidates)
    ]


def drawn(engine: OpenAIEngine, wanted: Sequence[Request], watch: Watch | None = None) -> list[Candidate]:
    found = list(engine.sample(engine.base, wanted, watch))
    assert Counter(one.key for one in found) == Counter(request.key for request in wanted)
    return sorted(found, key=lambda one: one.key)


def test_replies_are_the_same_however_they_are_grouped_and_told(fault_server: Start) -> None:
    url, wanted = fault_server().url, requests(prompts(3), 8)
    whole = drawn(engine_at(url), wanted)
    assert len({one.text for one in whole}) == 24
    assert all(one.finish_reason == "stop" and one.retokenised and not one.token_ids for one in whole)
    for options in ({"together": 1}, {"together": 3}, {"stream": True}, {"stream": True, "together": 5}):
        assert drawn(engine_at(url, **options), wanted) == whole


def test_replies_to_one_prompt_go_together(fault_server: Start) -> None:
    faulty = fault_server()
    drawn(engine_at(faulty.url, together=4), requests(prompts(3), 8))
    assert faulty.seen()["posts"] == 6


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.usefixtures("quick")
def test_faults_change_nothing(fault_server: Start, stream: bool, seed: int) -> None:
    wanted = requests(prompts(40), 5)
    whole = drawn(engine_at(fault_server().url), wanted)
    faulty = fault_server("--faults", 0.2, "--seed", seed)
    assert drawn(engine_at(faulty.url, stream=stream, together=3, timeout_seconds=2), wanted) == whole
    assert sum(faulty.faults().values()) > 10


@pytest.mark.usefixtures("quick")
def test_no_stream_is_left_half_read_for_the_garbage_collector(fault_server: Start) -> None:
    """It would close all of a stream's parts at once, from any thread: some of them while others use them."""

    def half_read() -> list[str]:
        return [one.__qualname__ for one in gc.get_objects() if type(one) is AsyncGeneratorType]

    def watch(request: Request) -> Any:
        return lambda text, tokens: Ended("short", "too long") if len(text) > 12 else None

    wanted = requests(prompts(20), 5)
    gc.collect()
    gc.disable()
    try:
        faulty = fault_server("--faults", 0.4)
        drawn(engine_at(faulty.url, stream=True, together=3, timeout_seconds=2), wanted)
        drawn(engine_at(fault_server().url, stream=True), wanted, watch)
        assert sum(faulty.faults().values()) > 10
        for _ in range(100):
            if not half_read():
                break
            time.sleep(0.05)
        assert half_read() == []
    finally:
        gc.enable()


@pytest.mark.usefixtures("quick")
def test_what_failed_too_often_is_a_failed_candidate_with_its_reason(fault_server: Start) -> None:
    faulty = fault_server("--faults", 0.4, "--only", "500,cut,not json,no choices,closed")
    wanted = requests(prompts(60), 2)
    found = drawn(engine_at(faulty.url, attempts=1, together=2, concurrency=1), wanted)
    reasons = Counter(one.finish_reason for one in found)
    assert reasons["failed"] > 20
    assert reasons["stop"] > 20
    assert all((one.finish_reason == "failed") == bool(one.why) for one in found)
    assert any("status 500" in (one.why or "") for one in found)


def test_a_server_that_knows_no_n_is_asked_one_by_one(fault_server: Start) -> None:
    faulty = fault_server("--alone")
    wanted = requests(prompts(6), 8)
    engine = engine_at(faulty.url, concurrency=1)
    assert drawn(engine, wanted) == drawn(engine_at(fault_server().url), wanted)
    assert engine.calls.together == 1


def test_a_server_that_can_do_nothing_that_it_is_asked_stops_the_run(fault_server: Start) -> None:
    faulty = fault_server("--faults", 1, "--only", "400")
    with pytest.raises(ServerError, match=r"has drawn nothing: the server refuses the request \(400\)"):
        drawn(engine_at(faulty.url, together=1, concurrency=1), requests(prompts(20), 2))


def test_a_watcher_ends_a_reply_while_it_is_told(fault_server: Start) -> None:
    wanted = requests(prompts(2), 3)

    def watch(request: Request) -> Any:
        if request.key.sample_index == 1:
            return None
        return lambda text, tokens: Ended("short", "too long") if len(text) > 12 else None

    url = fault_server().url
    whole = drawn(engine_at(url), wanted)
    for one, other in zip(drawn(engine_at(url, stream=True), wanted, watch), whole, strict=True):
        if one.key.sample_index == 1:
            assert one == other
        else:
            assert (one.finish_reason, one.ended_by, one.why) == ("ended", "short", "too long")
            assert 12 < len(one.text) < 20
            assert other.text.startswith(one.text)
    assert drawn(engine_at(url), wanted, watch) == whole  # told at once, there is nothing to end


def test_what_is_cancelled_on_its_way_comes_as_cancelled(fault_server: Start) -> None:
    faulty = fault_server("--delay", 0.05)
    engine = engine_at(faulty.url, concurrency=1, together=2)
    wanted = requests(prompts(3), 6)
    sampling = engine.sample(engine.base, wanted)
    found = [next(sampling)]
    for number in range(3):
        sampling.cancel_prompt(f"p{number}")
    found += sampling
    assert Counter(one.key for one in found) == Counter(request.key for request in wanted)
    reasons = Counter(one.finish_reason for one in found)
    assert reasons["cancelled"] >= 14
    assert faulty.seen()["posts"] <= 2


class _Bound(Pace):
    """A pace that lets one more candidate of each prompt begin whenever nothing is in the making."""

    def __init__(self) -> None:
        self.bounds = 1
        self.waits = 0

    def bound(self, prompt_id: str) -> int:
        return self.bounds

    def wait(self) -> None:
        self.waits += 1
        self.bounds += 1


def test_no_candidate_begins_before_the_pace_lets_it(fault_server: Start) -> None:
    faulty = fault_server()
    engine, pace = engine_at(faulty.url), _Bound()
    found = list(engine.sample(engine.base, requests(prompts(2), 4), None, pace))
    assert [one.key.sample_index for one in found] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert pace.waits == 3


def test_a_reply_that_is_told_as_text_is_in_the_students_tokens(fault_server: Start, tiny_folder: Path) -> None:
    student = Student([str(tiny_folder)])
    engine = engine_at(fault_server().url, student)
    wanted = requests(prompts(1), 2)
    short = requests(prompts(1), 1, replace(LAW, max_tokens=9))
    for one in drawn(engine, wanted):
        assert one.retokenised
        assert one.token_ids == tuple(student.chat.reply_ids(one.text))
    (cut,) = drawn(engine, short)
    assert cut.finish_reason == "length"
    assert student.chat.decode(cut.token_ids) == cut.text
    assert student.chat.end_of_turn not in cut.token_ids


@pytest.mark.parametrize(
    ("whose", "law", "told"),
    [
        ("model", LAW, (False, True)),
        ("law", LAW, (True, False)),
        ("model", replace(LAW, temperature=1.0), (True, True)),
        ("none", replace(LAW, temperature=1.0), (False, False)),
        ("model", replace(LAW, temperature=1.0, min_p=0.1), (False, True)),
        ("law", replace(LAW, temperature=1.0, repetition_penalty=1.2), (True, False)),
    ],
)
def test_log_probabilities_are_told_as_what_they_are(
    fault_server: Start, whose: str, law: SamplingParams, told: tuple[bool, bool]
) -> None:
    for stream in (False, True):
        (one,) = drawn(engine_at(fault_server().url, logprobs=whose, stream=stream), requests(prompts(1), 1, law))
        assert (one.logprob is not None, one.model_logprob is not None) == told
        for logprob in (one.logprob, one.model_logprob):
            assert logprob is None or logprob == pytest.approx(sum(-(1 + b % 7) / 10 for b in one.text.encode()))


def test_what_is_spent_is_known_of_replies_that_are_told_as_they_are_written(
    fault_server: Start, tmp_path: Path
) -> None:
    url, wanted = fault_server().url, requests(prompts(3), 4)
    spent = []
    for stream in (False, True):
        SPENDING.keep_in(tmp_path / f"{stream}.json")
        drawn(engine_at(url, stream=stream), wanted)
        spent.append(SPENDING.sums[f"fake at {url}"])
    assert spent[0] == spent[1]
    assert spent[0]["requests"] == 3
    assert spent[0]["written"] > 0


def test_what_was_written_of_a_reply_that_was_ended_is_spent(fault_server: Start, tmp_path: Path) -> None:
    url = fault_server().url
    SPENDING.keep_in(tmp_path / "spent.json")
    engine = engine_at(url, stream=True, logprobs="model")
    (one,) = drawn(engine, requests(prompts(1), 1), lambda _: lambda text, _: Ended("r", "") if text else None)
    sums = SPENDING.sums[f"fake at {url}"]
    assert (sums["requests"], sums["written"]) == (1, len(one.text))
    assert sums["read"] == len("Where is parcel 0?") // 3


@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_that_ends_at_once_is_one(fault_server: Start, tmp_path: Path, stream: bool) -> None:
    (tmp_path / "replies").write_text('[""]')
    url = fault_server("--replies", tmp_path / "replies", "--end-tokens").url
    (one,) = drawn(engine_at(url, stream=stream, attempts=1), requests(prompts(1), 1))
    assert (one.text, one.finish_reason) == ("", "stop")


@pytest.mark.parametrize("here", [True, False])
def test_a_half_of_a_character_is_no_text_that_could_be_stored(here: bool, tiny_folder: Path) -> None:
    def half(asked: Asked) -> tuple[int, Any]:
        said = {"message": {"role": "assistant", "content": "half \ud83d, whole 😀"}, "finish_reason": "stop"}
        return 200, {"choices": [{"index": n, **said} for n in range(asked.body.get("n") or 1)]}

    student = Student([str(tiny_folder)], "float32") if here else None
    with answering(half) as server:
        found = drawn(engine_at(server.url, student), requests(prompts(1), 2))
    assert [(one.text, one.finish_reason) for one in found] == [("half \ufffd, whole 😀", "stop")] * 2


def test_a_prompt_that_is_refused_has_no_other_asked_one_by_one(fault_server: Start) -> None:
    faulty = fault_server("--refuse", "parcel 0")
    engine = engine_at(faulty.url, together=4, concurrency=1)
    found = drawn(engine, requests(prompts(3), 4))
    assert [one.finish_reason for one in found] == ["failed"] * 4 + ["stop"] * 8
    assert engine.calls.together == 4


class _Stub:
    """Stands for `Calls`: the requests of each prompt fare as a test says."""

    def __init__(self, fare: Callable[[Flight, Callable[[Candidate], None]], Awaitable[None]]) -> None:
        self.server = Server(Endpoint(url="http://127.0.0.1:1/v1", model="fake"))
        self.options, self.together, self.fare = self.server.endpoint, 1, fare

    async def draw(self, name: str, flight: Flight, watch: Any, emit: Callable[[Candidate], None]) -> None:
        await self.fare(flight, emit)


def flown(fare: Any, count: int) -> Iterator[Candidate]:
    return Flights(cast(Any, _Stub(fare)), "fake", requests(prompts(count), 1), None, None, Cancelled()).run()


def whole(flight: Flight) -> Candidate:
    return Candidate(flight.requests[0].key, "said", (), "stop", None, None)


def test_what_was_drawn_before_the_end_is_not_lost() -> None:
    over = threading.Event()

    async def fare(flight: Flight, emit: Callable[[Candidate], None]) -> None:
        prompt = flight.requests[0].prompt.id
        while prompt == "p1" and not begun.is_set():
            await asyncio.sleep(0.001)
        if prompt == "p1":
            raise ServerError("all money is spent")
        while prompt == "p2" and not begun.is_set():
            await asyncio.sleep(0.001)
        if prompt == "p2":
            await asyncio.sleep(0.05)  # behind the one that failed
        emit(whole(flight))
        if prompt == "p2":
            over.set()

    begun = threading.Event()
    candidates = flown(fare, 3)
    assert next(candidates).key.prompt_id == "p0"
    begun.set()
    assert over.wait(60)
    assert next(candidates).key.prompt_id == "p2"
    with pytest.raises(ServerError, match="all money is spent"):
        next(candidates)


def test_a_server_that_refuses_some_prompts_at_once_is_waited_for() -> None:
    refused = 0

    async def fare(flight: Flight, emit: Callable[[Candidate], None]) -> None:
        nonlocal refused
        if flight.requests[0].prompt.id != "p0":
            refused += 1
            raise Unanswered("too long")
        while refused < 7:
            await asyncio.sleep(0.001)
        emit(whole(flight))

    found = list(flown(fare, 8))
    assert Counter(one.finish_reason for one in found) == {"stop": 1, "failed": 7}


def test_an_adapter_that_is_not_unloaded_harms_nobody(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_at("http://127.0.0.1:1/v1", Student([str(tiny_folder)]), policies="adapters")
    assert isinstance(engine.names, AdapterNames)
    told: list[str] = []

    def tell(path: str, body: dict[str, str]) -> str:
        told.append(path)
        if "unload" in path:
            raise Unanswered("it knows none of this name")
        return ""

    monkeypatch.setattr(engine.server, "tell", tell)
    monkeypatch.setattr(engine.names.probe, "prove", lambda *_: None)
    names = [engine.names.name(Policy(f"h{number}", adapter=str(tiny_folder))) for number in range(6)]
    assert names == [f"policy-h{number}" for number in range(6)]
    assert told.count("/unload_lora_adapter") == 2


@pytest.mark.parametrize("policies", ["none", "adapters", "folders"])
def test_a_policy_without_weights_of_its_own_is_the_base(policies: str, tiny_folder: Path) -> None:
    """A trainer that learns nothing makes such. The server, which is not there, is told and asked nothing."""
    engine = engine_at("http://127.0.0.1:1/v1", Student([str(tiny_folder)]), policies=policies)
    assert engine.names.name(engine.base) == "fake"
    assert engine.names.name(Policy("learnt-nothing")) == "fake"


def test_the_probes_ask_different_questions(fault_server: Start) -> None:
    engine = engine_at(fault_server().url)
    assert len({engine._answer("fake", probe)[0] for probe in _PROBES}) == len(_PROBES)


def test_all_of_the_law_is_asked_for() -> None:
    engine = engine_at("http://127.0.0.1:1/v1", extra={"reasoning_effort": "low"})
    law = SamplingParams(0.5, 0.9, 20, 33, 0.05, 1.1, ("\n",))
    wanted = requests(prompts(1), 3, law)
    asked = engine.calls.body("fake", wanted[1:])
    seed = asked.pop("seed")
    assert seed == stream_seed(0, 1, "p0", 0) % 2**52 + 1
    assert asked == {
        "model": "fake",
        "messages": [{"role": "user", "content": "Where is parcel 0?"}],
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 20,
        "max_tokens": 33,
        "min_p": 0.05,
        "repetition_penalty": 1.1,
        "stop": ["\n"],
        "n": 2,
        "reasoning_effort": "low",
    }


def test_openai_itself_is_not_asked_for_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    engine = engine_at("https://api.openai.com/v1")
    wanted = requests(prompts(1), 1)
    assert "max_completion_tokens" in engine.calls.body("gpt", wanted)
    with pytest.raises(RecipeError, match=r"sampling\.top_k is 5"):
        next(engine.sample(engine.base, requests(prompts(1), 1, replace(LAW, top_k=5))))


def test_a_policy_that_the_server_can_not_have_is_refused(fault_server: Start, tiny_folder: Path) -> None:
    engine = engine_at(fault_server().url, Student([str(tiny_folder)]))
    with pytest.raises(ServerError, match=r"engine\.policies is none"):
        next(engine.sample(Policy("x", adapter=str(tiny_folder)), requests(prompts(1), 1)))
    assert engine.calls.body("ft:x", requests(prompts(1), 1))["model"] == "ft:x"
    assert engine.names.name(Policy("x", hosted="ft:x")) == "ft:x"


def test_tokens_are_not_asked_for_without_a_tokenizer() -> None:
    for student in (None, Student(["nowhere-to-be-found"])):
        with pytest.raises(RecipeError, match=r"reads is token_ids, and the tokenizer of 'fake' is not at hand"):
            engine_at("http://127.0.0.1:1/v1", student, reads="token_ids")


def test_options_that_say_the_law_twice_are_refused() -> None:
    with pytest.raises(RecipeError, match="extra holds 'temperature'"):
        engine_at("http://127.0.0.1:1/v1", extra={"temperature": 1})
    with pytest.raises(RecipeError, match="extra holds 'max_tokens'"):
        engine_at("http://127.0.0.1:1/v1", extra={"max_tokens": 1})


def test_the_address_of_a_server_of_our_own_is_not_said(tiny_folder: Path) -> None:
    with pytest.raises(RecipeError, match="'served_model_name' is rsft's own business"):
        VllmEngine.open({"arguments": {"served_model_name": "x"}}, Student([str(tiny_folder)]), Path("unused"))


def test_a_whole_model_is_served_in_a_run_that_goes_on(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The base is not served then, and can't be asked what it says."""
    environment = Path(sys.executable).parents[1]
    engine = VllmEngine.open({"environment": str(environment)}, Student([str(tiny_folder)]), tiny_folder / "unused")
    monkeypatch.setattr(Serve, "start", lambda serve, policy: setattr(serve, "policy", policy))
    policy = Policy("h", weights=str(tiny_folder))
    assert engine.names.name(policy) == "policy-h"
    engine.close()
