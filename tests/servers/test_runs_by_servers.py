"""Whole runs whose candidates come from servers: faults, deaths and interruptions change nothing that is accepted."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faulty import FAULT_SERVER, Faulty

import rsft
from fake_host import KEY, FakeHost, serving
from questions import write_questions
from rsft.errors import RecipeError, ServerError
from rsft.models.student import Student
from rsft.servers.process import free_port
from rsft.store import RunFolder

Start = Callable[..., Faulty]
RECIPE = """
model: nowhere-to-be-found
engine: {type: openai, model: fake, attempts: 15, timeout_seconds: 3, together: 4}
prompts: {train: train.jsonl, heldout: heldout.jsonl}
sampling: {candidates: 6, max_tokens: 80}
scorers:
  lucky: {type: format, pattern: ".*[02468]"}
selection: [lucky >= 1, no_duplicates, {cap: 2}]
training: {type: "null"}
evaluation: {samples: 2}
guards: {plateau: off}
loop: {iterations: 2}
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., rsft.Recipe]:
    """The recipe with overrides, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    Path("served.yaml").write_text(RECIPE)
    write_questions(train=16, heldout=8)
    return lambda *overrides: rsft.load_recipe("served.yaml", *overrides)


def came_to(run: str) -> dict[str, Any]:
    """What a run holds, but for when and where."""
    with RunFolder.open(Path(run), write=False) as folder:
        return {
            "candidates": {one.key: (one.text, one.finish_reason) for one in folder.candidates()},
            "decisions": {arm: folder.decisions(arm) for arm in ("policy", "control")},
        }


@pytest.mark.usefixtures("quick")
def test_a_run_by_a_bad_server_comes_to_the_same(recipe: Callable[..., rsft.Recipe], fault_server: Start) -> None:
    good = rsft.run(recipe(f"engine.url={fault_server().url}", "run=good"))
    faulty = fault_server("--faults", 0.2)
    bad = rsft.run(recipe(f"engine.url={faulty.url}", "run=bad"))
    assert sum(faulty.faults().values()) > 10
    assert came_to("bad") == came_to("good")
    assert good["iterations"][-1]["heldout_acceptance"] == bad["iterations"][-1]["heldout_acceptance"]
    assert all(reason != "failed" for _, reason in came_to("bad")["candidates"].values())


@pytest.mark.usefixtures("quick")
def test_what_a_bad_server_never_answers_is_told_and_accepted_nowhere(
    recipe: Callable[..., rsft.Recipe], fault_server: Start
) -> None:
    faulty = fault_server("--faults", 0.3, "--only", "500,cut,not json")
    summary = rsft.run(recipe(f"engine.url={faulty.url}", "run=bad", "engine.attempts=2", "engine.concurrency=1"))
    held = came_to("bad")
    failed = {key for key, (_, reason) in held["candidates"].items() if reason == "failed"}
    assert failed
    for decided in held["decisions"].values():
        assert not any(decision.accepted for key, decision in decided.items() if key in failed)
    assert summary["base"]["failed"] == sum(key.iteration == 0 and key.sample_index == 0 for key in failed)


@pytest.mark.usefixtures("quick")
def test_a_server_that_dies_and_comes_back_loses_nothing(
    recipe: Callable[..., rsft.Recipe], fault_server: Start
) -> None:
    rsft.run(recipe(f"engine.url={fault_server().url}", "run=good"))
    port = free_port()
    words = [sys.executable, str(FAULT_SERVER), "--port", str(port), "--delay", "0.01"]
    over = threading.Event()
    deaths = 0

    def keep_up() -> None:
        nonlocal deaths
        while not over.is_set():
            dying = subprocess.Popen([*words, "--die-after", "12"], stdout=subprocess.DEVNULL)
            while dying.poll() is None and not over.is_set():
                time.sleep(0.02)
            deaths += not over.is_set()
            dying.kill()
            dying.wait()

    keeper = threading.Thread(target=keep_up)
    keeper.start()
    try:
        rsft.run(recipe(f"engine.url=http://127.0.0.1:{port}/v1", "run=bad", "engine.concurrency=3"))
    finally:
        over.set()
        keeper.join()
    assert deaths > 3
    assert came_to("bad") == came_to("good")


@pytest.mark.usefixtures("quick")
def test_a_run_whose_server_is_gone_stops_and_goes_on_later(
    recipe: Callable[..., rsft.Recipe], fault_server: Start
) -> None:
    rsft.run(recipe(f"engine.url={fault_server().url}", "run=good"))
    port = free_port()
    address = f"engine.url=http://127.0.0.1:{port}/v1"
    dying = fault_server("--port", port, "--die-after", 10)  # three at once: the tenth comes after seven answers
    wanted = recipe(address, "run=bad", "engine.patience_seconds=0.2", "engine.concurrency=3")
    with pytest.raises(ServerError, match="rsft resume"):
        rsft.run(wanted)
    dying.stop()
    assert came_to("bad")["candidates"]  # what was acknowledged is kept
    fault_server("--port", port)
    rsft.run(wanted)
    assert came_to("bad") == came_to("good")


def test_a_cap_on_the_cost_holds_however_often_the_run_goes_on(
    recipe: Callable[..., rsft.Recipe], fault_server: Start
) -> None:
    url = fault_server().url
    price = "engine.price={input: 0, output: 1000000}"
    rsft.run(recipe(f"engine.url={url}", "run=free", price))
    from rsft.servers import SPENDING

    whole = next(iter(SPENDING.sums.values()))["cost"]
    capped = recipe(f"engine.url={url}", "run=dear", price, f"engine.max_cost={whole / 2}")
    for _ in range(2):
        with pytest.raises(ServerError, match="max_cost is"):
            rsft.run(capped)
    spent = next(iter(SPENDING.sums.values()))["cost"]
    assert whole / 2 <= spent < whole * 0.75


def test_tokens_that_nobody_can_count_are_not_bounded(recipe: Callable[..., rsft.Recipe]) -> None:
    with pytest.raises(
        RecipeError,
        match=r"budget\.max_tokens is 900, and one that writes tells texts only",
    ):
        rsft.run(recipe("engine.url=http://127.0.0.1:1/v1", "budget.max_tokens=900", "run=uncounted"))


def test_no_key_is_written_anywhere(
    recipe: Callable[..., rsft.Recipe], fault_server: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    canary = "sk-canary-4f1c9d"
    monkeypatch.setenv("SHOP_KEY", canary)
    faulty = fault_server("--key", canary, "--faults", 0.2, "--only", "500,not json")
    server = f"url: '{faulty.url}', model: judge, key_env: SHOP_KEY, attempts: 9"
    judge = f"evaluation.scorers={{liked: {{type: rubric, server: {{{server}}}}}}}"
    wanted = ("engine.key_env=SHOP_KEY", judge, "scoring.max_failed=1", "run=secret")
    rsft.run(recipe(f"engine.url={faulty.url}", *wanted))
    monkeypatch.setenv("SHOP_KEY", canary + "-wrong")
    with pytest.raises(ServerError, match=r"refuses the key in SHOP_KEY \(401\)") as refused:
        rsft.run(recipe(f"engine.url={faulty.url}", *wanted[:-1], "run=refused"))
    assert canary not in "".join(traceback.format_exception(refused.value))
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 10
    for path in written:
        assert canary.encode() not in path.read_bytes(), path


def test_teacher_and_policy_write_in_turn_and_each_candidate_knows_its_writer(
    recipe: Callable[..., rsft.Recipe], fault_server: Start, tiny_folder: Path
) -> None:
    teacher = f"{{type: openai, url: '{fault_server().url}', model: wise, share: 2}}"
    script = "{type: scripted, replies: ['reply 2', 'reply 4', 'reply 3', 'reply 5']}"
    summary = rsft.run(
        recipe(f"engine={script}", f"sampling.generators=[policy, {teacher}]", f"model={tiny_folder}", "run=taught")
    )
    assert summary["iterations"][0]["accepted"]
    with RunFolder.open(Path("taught"), write=False) as folder:
        laws, chat = folder.ledger.generators(), Student([str(tiny_folder)]).chat
        sampled = folder.decisions("policy")
        for key in sampled:
            assert laws[key.generator]["engine"] == ("scripted" if key.sample_index % 3 == 0 else "openai")
            if key.sample_index % 3:
                assert laws[key.generator]["model"] == "wise"
        for one in folder.candidates():
            if laws[one.key.generator]["engine"] == "openai":
                assert one.retokenised
                assert one.token_ids == tuple(chat.reply_ids(one.text))
        engines = {laws[one.key.generator]["engine"] for one in folder.candidates() if one.key not in sampled}
        control = {laws[key.generator]["engine"] for key in folder.decisions("control")}
    assert engines == {"scripted"} | (engines & {"openai"})  # what is measured is the policy alone
    assert control == {"scripted", "openai"}


def test_what_a_host_trained_is_sampled_from_there(
    recipe: Callable[..., rsft.Recipe], fault_server: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOST_KEY", KEY)
    faulty = fault_server()
    with serving(FakeHost()) as host:
        training = f"{{type: openai, url: '{host.url}', model: fake, key_env: HOST_KEY, poll_seconds: 0.001}}"
        rsft.run(recipe(f"engine.url={faulty.url}", f"training={training}", "loop.control=none", "run=hosted"))
    first, second = (job["fine_tuned_model"] for job in host.jobs.values())
    assert faulty.seen()["models"].keys() == {"fake", first, second}
    with RunFolder.open(Path("hosted"), write=False) as folder:
        laws = folder.ledger.generators()
        wrote = {laws[key.generator]["policy"] for key in folder.decisions("policy", iteration=2)}
        policy = folder.policies.of(1, "policy")
    assert policy is not None
    assert wrote == {policy.hash}
