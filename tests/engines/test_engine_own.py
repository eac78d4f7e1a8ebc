"""Engines of a user's own: what a recipe may name, what is told of mistakes, and what such an engine may do wrong."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rsft
from command import Command
from questions import write_questions
from rsft.engines import OwnEngine, Request, Written
from rsft.engines.base import Pace
from rsft.engines.build import engine_kind
from rsft.engines.own import WrittenBy
from rsft.errors import RecipeError, RunError
from rsft.loop import run
from rsft.models.student import Student
from rsft.setup import check
from rsft.store import RunFolder
from rsft.store.rows import candidates_table
from rsft.types import CandidateKey, Message, Policy, Prompt, SamplingParams

ENGINES = """
from rsft.engines import OwnEngine, Written

class Shouts(OwnEngine):
    mark: str = "!"
    def replies(self, policy, requests):
        return [f"Good {one.seed % 5}: {one.prompt.messages[-1].content}{self.mark}" for one in requests]

class Learns(Shouts):
    trained = ("adapter", "weights")

class Silent(OwnEngine):
    pass

class Other:
    def sample(self): ...

def says(requests, word, times=1):
    return [f"{word} " * times for one in requests]

half = __import__("functools").partial(says, word="Good")

def takes_none(*, word="Good"): ...

def takes_options(**options): ...

def breaks(requests):
    raise ValueError("no such voice")
"""
RECIPE = """
model: none
engine: {engine}
prompts: {{train: train.jsonl, heldout: heldout.jsonl}}
sampling: {{candidates: 4, max_tokens: 40}}
scorers:
  polite: {{type: format, pattern: "Good.*"}}
selection: [polite >= 1, {{cap: 2}}]
training: {{type: "null"}}
evaluation: {{samples: 0}}
loop: {{iterations: 1, control: none}}
"""
PROMPTS = [Prompt(f"p{i}", (Message("user", f"question {i}"),), ()) for i in range(3)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(ENGINES)
    write_questions(train=6, heldout=3)
    return tmp_path


def recipe(engine: str, *overrides: str) -> rsft.Recipe:
    Path("own.yaml").write_text(RECIPE.format(engine=engine))
    return rsft.load_recipe("own.yaml", *overrides)


def wanted(count: int = 4, **law: Any) -> list[Request]:
    return [
        Request(CandidateKey(1, prompt.id, index, "g"), prompt, index, SamplingParams(**law))
        for prompt in PROMPTS
        for index in range(count)
    ]


@pytest.mark.parametrize(
    ("engine", "told"),
    [
        ("mine.py:Shout", "has no function or class 'Shout'. Did you mean 'Shouts'?"),
        ("yours.py:Shouts", "names the file yours.py, which does not exist"),
        ("mine.py:Silent", "is a class without replies"),
        ("mine.py:Other", "is a class without open and serves. Derive it from rsft.engines.OwnEngine"),
        (
            "{type: 'mine.py:Shouts', marc: '?'}",
            "'engine.marc' is not a key of the engine 'Shouts'. Did you mean 'mark'?",
        ),
        ("mine.py:half", "is neither a class nor a function, but a partial"),
        ("{type: 'mine.py:Shouts', batch: 0}", "engine.batch"),
        ("{type: 'mine.py:says', wort: a}", "there is no option 'wort'. Did you mean 'word'?"),
        ("{type: 'mine.py:says'}", "the option 'word' is missing"),
        ("mine.py:takes_none", "must take the list of requests as its first argument"),
        ("{type: 'mine.py:takes_options', word: a}", "must take the list of requests as its first argument"),
        ("{type: scripted, replys: [a]}", "'engine.replys' is not a key"),
        ("{type: local, memory: 3}", "'engine.memory' is not a key"),
        ("scriptd", "There is no engine named 'scriptd'. Did you mean 'scripted'?"),
    ],
)
def test_check_says_what_is_wrong_with_an_engine(engine: str, told: str, here: Path, cli: Command) -> None:
    recipe(engine)
    said = cli("check", "own.yaml")
    assert said.code == 2
    assert told in " ".join(said.err.split())
    with pytest.raises(RecipeError):
        check(recipe("mine.py:Shouts", f"sampling.generators=[{engine}]"))


def test_an_engine_that_can_not_serve_what_is_trained_is_refused(here: Path) -> None:
    trained = "training={lora: {rank: 4}}"
    with pytest.raises(RecipeError, match=r"can't sample from these. Have its class say that it can \(trained"):
        check(recipe("mine.py:Shouts", trained))
    with pytest.raises(RecipeError, match=r"generators: \[\{type: .*mine.py:says, ...\}\]"):
        check(recipe("{type: 'mine.py:says', word: Good}", trained))
    check(recipe("mine.py:Learns", trained))


def test_a_run_by_an_engine_of_ones_own_is_resumed_and_is_part_of_the_recipe(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = recipe("mine.py:Shouts")
    summary = run(said)
    assert summary["finished"]
    assert summary["fakes"] == ["null"]
    assert run(said) == summary
    with RunFolder.open(Path(said.run), write=False) as folder:
        (law,) = {law["of"] for law in folder.ledger.generators().values()}
        first = folder.candidates(iteration=1)
    assert all(c.text.startswith("Good") and c.text.endswith("!") for c in first)
    with pytest.raises(RunError, match=r"engine.mark: \(not there\) → \"\?\""):
        run(recipe("{type: 'mine.py:Shouts', mark: '?'}"))
    Path("mine.py").write_text(ENGINES.replace("Good {one", "Good and well {one"))
    other = rsft.load_recipe("own.yaml", "run=runs/other", "engine=mine.py:Shouts")
    run(other)
    with RunFolder.open(Path(other.run), write=False) as folder:
        assert law not in {law["of"] for law in folder.ledger.generators().values()}, "its file is part of what it is"
        assert all(c.text.startswith("Good and well") for c in folder.candidates(iteration=1))
    monkeypatch.chdir(here.parent)
    assert run(rsft.load_recipe(said.run)) == summary, "the file is found from anywhere"


def test_the_same_seed_gives_the_same_run_whatever_the_batch(here: Path) -> None:
    found = []
    for size in (1, 3):
        said = recipe(f"{{type: 'mine.py:Shouts', batch: {size}}}", f"run=runs/{size}")
        run(said)
        with RunFolder.open(Path(said.run), write=False) as folder:
            found.append({c.key: c.text for c in folder.candidates()})
    assert found[0] == found[1]


def test_a_function_that_can_do_nothing_stops_the_run_with_the_reason(here: Path) -> None:
    with pytest.raises(RunError, match="'breaks' failed on each of the first 4 requests: ValueError: no such voice"):
        run(recipe("mine.py:breaks"))


class Told(OwnEngine):
    """Says what it is told to for each sample index."""

    def replies(self, policy: Policy, requests: Any) -> Any:
        said: list[Any] = ["a whole reply", "one STOP two", Written("cut off", cut=True), None, 3.5, 1 / 2, "late"]
        if len(requests) > 1 and any(one.key.sample_index == 5 for one in requests):
            raise ValueError("it was too much")
        if requests[0].key.sample_index == 5:
            return said  # too many
        return [said[one.key.sample_index] for one in requests]


@pytest.mark.parametrize("model", [True, False])
def test_each_request_gets_one_candidate_whatever_the_engine_does(model: bool, tiny_folder: Path) -> None:
    student = Student([str(tiny_folder)], "float32") if model else None
    engine = WrittenBy("told", Told(), student)
    assert engine.tells_tokens is model
    found = list(engine.sample(engine.base, wanted(7, stop=("STOP",))))
    assert Counter(c.key for c in found) == Counter(one.key for one in wanted(7))
    of_one = {c.key.sample_index: c for c in found if c.key.prompt_id == "p0"}
    assert [(of_one[i].text, of_one[i].finish_reason) for i in (0, 1, 2, 6)] == [
        ("a whole reply", "stop"),
        ("one ", "stop"),
        ("cut off", "length"),
        ("late", "stop"),
    ]
    assert [of_one[i].why for i in (3, 4, 5)] == [
        "it gave no reply",
        "it gave float, not a text",
        "TypeError: it gave 7 for 1 requests",
    ]
    if student is not None:
        chat = student.chat
        assert of_one[1].token_ids == tuple(chat.reply_ids("one "))
        assert of_one[2].token_ids == tuple(chat.reply_ids("cut off")[:-1])
        assert engine.text(of_one[0].token_ids[:-1]) == "a whole reply"
    else:
        assert of_one[0].token_ids == ()
    assert all(c.retokenised for c in found if c.is_reply)


def test_a_reply_ends_at_a_stop_string_in_its_tokens_too(tiny_folder: Path) -> None:
    student = Student([str(tiny_folder)], "float32")
    chat = student.chat

    class Heedless(OwnEngine):
        def replies(self, policy: Policy, requests: Any) -> Any:
            text = "one STOP two STOP"
            ids = tuple(chat.reply_ids(text))
            said = [Written(text, ids), Written(text, ids[:-1], cut=True), Written(text, cut=True), Written("a", (64,))]
            return [said[one.key.sample_index] for one in requests]

    engine = WrittenBy("heedless", Heedless(), student)
    found = {c.key.sample_index: c for c in engine.sample(engine.base, wanted(4, stop=("STOP", "two")))}
    assert {(c.text, c.finish_reason) for c in found.values()} == {("one ", "stop"), ("a", "stop")}
    for index in (0, 1):
        assert chat.decode(found[index].token_ids) == "one STOP", "nothing that nobody scored is trained on"
    assert found[2].token_ids == tuple(chat.reply_ids("one "))
    assert found[3].token_ids == (64,)


@pytest.mark.parametrize("model", [True, False])
def test_what_it_tells_can_be_stored_and_trained_on(model: bool, tiny_folder: Path) -> None:
    class Odd(OwnEngine):
        def replies(self, policy: Policy, requests: Any) -> Any:
            if requests[0].key.sample_index == 6:
                raise ValueError("half \ud83d")
            said: list[Any] = ["half \ud83d", Written("ids", [1, 2]), Written("ids", np.array([1, 2]))]
            said += [Written(None), Written(3.5), Written("ids", (0.5,))]  # type: ignore[arg-type]
            return [said[one.key.sample_index] for one in requests]

    student = Student([str(tiny_folder)], "float32") if model else None
    engine = WrittenBy("odd", Odd(batch=1), student)
    found = {c.key.sample_index: c for c in engine.sample(engine.base, wanted(7)) if c.key.prompt_id == "p0"}
    assert found[0].text == "half \ufffd"
    assert [(found[i].token_ids, found[i].retokenised) for i in (1, 2)] == [((1, 2), False)] * 2
    assert {type(token) for token in found[2].token_ids} == {int}
    assert [found[i].why for i in (3, 4, 5, 6)] == [
        "it gave no reply",
        "it gave float, not a text",
        "its token ids are no sequence of whole numbers",
        "ValueError: half \ufffd",
    ]
    for candidate in found.values():
        hash(candidate)
    candidates_table(list(found.values()))


def test_a_reply_longer_than_the_law_has_it_is_cut(tiny_folder: Path) -> None:
    student = Student([str(tiny_folder)], "float32")
    (found,) = {
        (c.text, len(c.token_ids), c.finish_reason)
        for c in WrittenBy("told", Told(), student).sample(student.base, wanted(1, max_tokens=7))
    }
    assert found == ("a whole", 7, "length")
    for most, reason in ((13, "length"), (14, "stop")):  # thirteen letters, and what ends the turn
        exact = WrittenBy("told", Told(), student).sample(student.base, wanted(1, max_tokens=most))
        assert {(c.text, len(c.token_ids), c.finish_reason) for c in exact} == {("a whole reply", most, reason)}


def test_it_is_asked_for_no_more_than_a_batch_and_in_the_order_of_sample_indices() -> None:
    asked: list[list[int]] = []

    class Notes(OwnEngine):
        def replies(self, policy: Policy, requests: Any) -> Any:
            asked.append([one.key.sample_index for one in requests])
            return ["said"] * len(requests)

    class Slow(Pace):
        waits = 0

        def bound(self, prompt_id: str) -> int:
            return 1 + self.waits // 2 * 2

        def wait(self) -> None:
            self.waits += 1

    engine = WrittenBy("notes", Notes(batch=2), None)
    assert engine.rows == 2
    found = list(engine.sample(engine.base, wanted()[::-1], None, Slow()))
    assert max(map(len, asked)) == 2
    for prompt in PROMPTS:
        assert [c.key.sample_index for c in found if c.key.prompt_id == prompt.id] == [0, 1, 2, 3]


def test_what_is_cancelled_while_a_candidate_is_taken_still_comes(here: Path) -> None:
    engine = engine_kind("mine.py:Shouts").open({"batch": 6}, None, Path())
    sampling = engine.sample(engine.base, wanted(2))
    sampling.cancel(CandidateKey(1, "p1", 0, "g"))
    found = [next(sampling)]
    for prompt in PROMPTS:
        sampling.cancel_prompt(prompt.id)
    found += sampling
    assert Counter(c.key for c in found) == Counter(one.key for one in wanted(2))


def test_what_it_is_told_apart_by(here: Path) -> None:
    def described(**options: Any) -> Any:
        return engine_kind("mine.py:Shouts").open(options, None, Path()).description

    assert described() == described(batch=3) != described(mark="?")
    function = engine_kind("mine.py:says")
    one, other = (function.open({"word": word}, None, Path()) for word in ("a", "b"))
    assert one.description != other.description
    assert one.base != other.base, "nobody can hash what it writes by"


def test_an_engine_goes_no_further_than_its_pace_and_leaves_what_is_cancelled(here: Path) -> None:
    engine = engine_kind("mine.py:Shouts").open({"batch": 2}, None, Path())

    class Waits(Pace):
        allowed = 1
        waits = 0

        def bound(self, prompt_id: str) -> int:
            return self.allowed

        def wait(self) -> None:
            self.waits += 1
            if self.waits == 1:
                self.allowed = 2
            else:
                sampling.cancel_prompt("p0")
                for index in range(4):
                    sampling.cancel(CandidateKey(1, "p1", index, "g"))
                self.allowed = 4

    pace = Waits()
    sampling = engine.sample(engine.base, wanted(), None, pace)
    found = list(sampling)
    assert Counter(c.key for c in found) == Counter(one.key for one in wanted())
    assert Counter((c.key.prompt_id, c.finish_reason) for c in found) == {
        ("p0", "stop"): 2,
        ("p0", "cancelled"): 2,
        ("p1", "stop"): 2,
        ("p1", "cancelled"): 2,
        ("p2", "stop"): 4,
    }
    assert pace.waits == 2


def test_one_can_sample_from_its_run(here: Path, cli: Command) -> None:
    run(recipe("mine.py:Shouts"))
    said = cli("sample", "runs/own", "hello there", "--candidates", "2", "--json")
    assert said.code == 0, said.err
    assert all(reply["text"].startswith("Good") and "hello there!" in reply["text"] for reply in said.json["replies"])
