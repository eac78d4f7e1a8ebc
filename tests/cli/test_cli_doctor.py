"""`rsft doctor`: what is found out, by what, and that it gives away nothing and loads nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from answering import Answer, Answering, Asked, answering
from command import Command
from rsft.doctor import machine, software
from rsft.servers.named import named_servers

DEAD = "http://127.0.0.1:9/v1"
ABILITIES = ("n", "seed", "token_ids", "logprobs", "streaming", "json_schema", "adapters")


def recipe(engine: Any = "local", **parts: Any) -> str:
    """The name of a recipe file with such parts."""
    said = {
        "model": "none",
        "prompts": {"train": "bundled:shop.train.jsonl.gz"},
        "engine": engine,
        "scorers": {"brief": {"type": "length", "max_words": 14}},
        "selection": ["brief >= 1"],
        **parts,
    }
    Path("bot.yaml").write_text(json.dumps(said))
    return "bot.yaml"


def refused(why: str, status: int = 400) -> tuple[int, Any]:
    return status, {"error": {"message": why, "code": status}}


class Chat:
    """A chat server in vLLM's manner, of which each ability may be taken away."""

    def __init__(self, *without: str, models: tuple[str, ...] = ("m", "n"), version: str | None = "0.32.0") -> None:
        self.without, self.models, self.version = without, models, version
        self.drawn = 0

    def __call__(self, asked: Asked) -> tuple[int, Any]:
        if asked.path == "/version" and self.version:
            return 200, {"version": self.version}
        if asked.path == "/v1/models":
            return 200, {"object": "list", "data": [{"id": name} for name in self.models]}
        if asked.path == "/v1/load_lora_adapter" and "adapters" not in self.without:
            return refused(f"No adapter found for {asked.body['lora_name']}", 404)
        if asked.path != "/v1/chat/completions":
            return 404, {"detail": "Not Found"}
        return self.chat(asked.body)

    def chat(self, body: dict[str, Any]) -> tuple[int, Any]:
        assert body["max_tokens"] <= 8, "a look is tiny"
        for refusal in self.without:
            field = refusal.removeprefix("refuses ")
            if refusal != field and field in body:
                return refused(f"{field} is not supported")
        if body.get("stream") and "streaming" not in self.without:
            part = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
            parts = [part | {"choices": [{"index": 0, "delta": {"content": word}}]} for word in "ab"]
            return 200, b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in parts) + b"data: [DONE]\n\n"
        count = 1 if "n" in self.without else body.get("n", 1)
        return 200, {"choices": [self.choice(body, number) for number in range(count)]}

    def choice(self, body: dict[str, Any], number: int) -> dict[str, Any]:
        self.drawn += 1
        text = f"word{self.drawn if 'seed' in self.without else body.get('seed')}"
        if "response_format" in body and "json_schema" not in self.without:
            text = '{"a": 1'
        choice: dict[str, Any] = {"index": number, "message": {"role": "assistant", "content": text}}
        if body.get("return_token_ids") and "token_ids" not in self.without:
            choice["token_ids"] = [1, 2]
        if body.get("logprobs") and "logprobs" not in self.without:
            choice["logprobs"] = {"content": [{"token": "a", "logprob": -0.5}]}
        return choice


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], Answering]]:
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(answering(answer))


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Command) -> Callable[..., dict[tuple[str, str], Any]]:
    """The checks of `rsft doctor` by what they are about and their names."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> dict[tuple[str, str], Any]:
        said = cli("doctor", *words, "--json")
        counts = said.json["counts"]
        assert said.code == (2 if counts["problem"] else 0)
        checks = {(check["about"], check["name"]): check for check in said.json["checks"]}
        assert sum(counts.values()) == len(said.json["checks"]) == len(checks)
        return checks

    return run


# -- the machine and what is installed ---------------------------------------------------------------------------------


def test_the_machine_is_told_without_a_recipe(doctor: Any) -> None:
    checks = doctor()
    assert {about for about, _ in checks} == {"software", "machine", "keys"}
    assert "GFLOP/s in bfloat16" in checks["machine", "speed"]["found"]
    assert "auto picks" in checks["machine", "speed"]["found"]
    assert "GiB free at" in checks["machine", "disk"]["found"]
    assert checks["software", "torch"]["state"] == "ok"
    for check in checks.values():
        assert check["advice"] or check["state"] == "ok", "whatever is not as it should be says what to do"


def test_people_read_the_same_and_the_exit_code_says_if_there_is_a_problem(
    doctor: Any, cli: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    said = cli("doctor", recipe({"type": "openai", "url": DEAD, "model": "m"}))
    assert said.code == 2
    assert "problem server" in said.out
    assert "→ Start the server" in said.out
    assert "1 problem" in said.out
    assert "Exit code 0 without a" in cli("doctor", "--help").out
    assert "name one" in cli("doctor", "--set", "seed=1").err


def test_no_model_library_is_loaded(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom rsft.cli import main\nsys.argv = ['rsft', 'doctor', '--json']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code in (0, 2, None), end.code\n"
        "heavy = {'transformers', 'sentence_transformers', 'peft'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, cwd=tmp_path)


@pytest.mark.parametrize("conflict", sorted(software.CONFLICTS))
def test_what_was_made_for_another_version_is_a_problem(conflict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (other, *_), why = software.CONFLICTS[conflict]
    version, needs = software.version_of, software._needs
    monkeypatch.setattr(software, "version_of", lambda name: "1.0" if name == conflict else version(name))
    for wanted, problems in ((f"{other}==1.2.3", 1), (f"{other}>=0.1", 0), ("something-else==1", 0)):
        monkeypatch.setattr(software, "_needs", lambda name, w=wanted: [w] if name == conflict else needs(name))
        found = [check for check in software.software() if check.name == conflict]
        assert [check.state for check in found] == ["problem"] * problems
        assert all(why in check.advice and wanted in check.found for check in found)


def test_what_rsft_needs_and_does_not_find_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"transformers": "5.2.0", "torch": "2.13.0+cpu", "openai": None}
    monkeypatch.setattr(software, "version_of", there.get)
    wanted = ["transformers<6,>=5.16", "torch>=2.8", "openai>=3.54"]
    monkeypatch.setattr(software, "_needs", lambda name: wanted if name == "rsft" else [])
    found = {check.name: check for check in software.software()}
    assert (found["torch"].state, found["torch"].found) == ("ok", "2.13.0+cpu")
    assert found["transformers"].state == found["openai"].state == "problem"
    assert "pip install 'transformers<6,>=5.16'" in found["transformers"].advice
    assert found["openai"].found == "not installed"


@pytest.mark.parametrize(
    ("cuda", "gpu", "state"),
    [(None, False, "ok"), (None, True, "problem"), ("13.0", False, "note"), ("13.0", True, "problem")],
)
def test_a_torch_that_does_not_fit_the_machine_is_told(
    cuda: str | None, gpu: bool, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(machine, "has_gpu", lambda: gpu)
    assert machine._device(torch, "cpu").state == state


def test_a_full_disk_and_a_model_that_has_no_room_are_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_folder: Path
) -> None:
    import shutil

    import psutil
    import torch

    from rsft.config import load_recipe

    monkeypatch.chdir(tmp_path)
    said = load_recipe(recipe(), [f"model={tiny_folder}"])
    assert machine._memory(torch, "cpu", said).state == "ok"
    free = psutil.virtual_memory()._replace(available=1000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    assert machine._memory(torch, "cpu", said).state == "problem"
    disk = shutil.disk_usage(tmp_path)
    for gib, state in ((0.5, "problem"), (5, "note"), (50, "ok")):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, g=gib: disk._replace(free=int(g * 2**30)))
        assert machine._disk(tmp_path / "runs/not/there/yet").state == state


# -- servers -----------------------------------------------------------------------------------------------------------


def test_a_server_that_can_do_all_is_told_so(doctor: Any, serve: Any) -> None:
    server = serve(Chat())
    checks = doctor(recipe({"type": "openai", "url": server.url, "model": "m"}))
    assert checks["engine", "server"]["found"] == f"{server.url} answers, version 0.32.0"
    assert checks["engine", "models"]["found"] == "m, n"
    assert {name: checks["engine", name]["state"] for name in ("chat", *ABILITIES)} == dict.fromkeys(
        ("chat", *ABILITIES), "ok"
    )


@pytest.mark.parametrize(
    ("without", "ability", "why"),
    [
        ("n", "n", "gives 1 for n: 2"),
        ("refuses n", "n", "n is not supported"),
        ("seed", "seed", "another reply with the same one"),
        ("refuses seed", "seed", "seed is not supported"),
        ("token_ids", "token_ids", "gives none"),
        ("refuses return_token_ids", "token_ids", "return_token_ids is not supported"),
        ("logprobs", "logprobs", "gives none"),
        ("refuses logprobs", "logprobs", "logprobs is not supported"),
        ("streaming", "streaming", ""),
        ("refuses stream", "streaming", "stream is not supported"),
        ("json_schema", "json_schema", "takes a schema, and says 'word"),
        ("refuses response_format", "json_schema", "response_format is not supported"),
        ("adapters", "adapters", "loads none while it runs"),
    ],
)
def test_what_a_server_can_not_do_is_found_out(doctor: Any, serve: Any, without: str, ability: str, why: str) -> None:
    checks = doctor(recipe({"type": "openai", "url": serve(Chat(without)).url, "model": "m"}))
    states = {name: checks["engine", name]["state"] for name in ABILITIES}
    assert states == dict.fromkeys(ABILITIES, "ok") | {ability: "note"}
    assert why in checks["engine", ability]["found"]


def test_a_server_that_gives_the_same_whatever_the_seed_is_no_proof(doctor: Any, serve: Any) -> None:
    class Greedy(Chat):
        def choice(self, body: dict[str, Any], number: int) -> dict[str, Any]:
            return super().choice(body | {"seed": 0}, number)

    check = doctor(recipe({"type": "openai", "url": serve(Greedy()).url, "model": "m"}))["engine", "seed"]
    assert (check["state"], check["found"]) == ("note", "takes a seed; other seeds gave the same reply, too")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "onnect"),
        (lambda asked: refused("who are you?", 401), "refuses a request without key (401)"),
        (lambda asked: refused("out of order", 500), "status 500"),
        (lambda asked: (200, b"<html>"), "not JSON"),
    ],
)
def test_a_server_that_can_not_be_asked_is_a_problem_with_its_reason(
    doctor: Any, serve: Any, answer: Answer | None, reason: str
) -> None:
    url = serve(answer).url if answer else DEAD
    checks = doctor(recipe({"type": "openai", "url": url, "model": "m"}))
    check = checks["engine", "server"]
    assert check["state"] == "problem"
    assert reason in check["found"]
    assert "What was drawn" not in check["found"]
    assert ("engine", "chat") not in checks


def test_a_model_that_the_server_has_not_is_a_problem(doctor: Any, serve: Any) -> None:
    checks = doctor(recipe({"type": "openai", "url": serve(Chat(models=("a", "b"))).url, "model": "m"}))
    assert checks["engine", "models"]["state"] == "problem"
    assert "It has no 'm'" in checks["engine", "models"]["advice"]
    silent = doctor(recipe({"type": "openai", "url": serve(Chat(models=(), version=None)).url, "model": "m"}))
    assert silent["engine", "models"]["state"] == "note"
    assert "version" not in silent["engine", "server"]["found"]


def test_a_model_that_does_not_chat_is_a_problem(doctor: Any, serve: Any) -> None:
    checks = doctor(recipe({"type": "openai", "url": serve(Chat("refuses messages")).url, "model": "m"}))
    assert checks["engine", "chat"]["state"] == "problem"
    assert ("engine", "n") not in checks


def test_keys_are_told_by_name_and_never_shown(
    doctor: Any, serve: Any, monkeypatch: pytest.MonkeyPatch, cli: Command
) -> None:
    monkeypatch.setenv("MY_KEY", "canary-key-1")
    monkeypatch.setenv("OPENAI_API_KEY", "canary-key-2")
    monkeypatch.setenv("HF_TOKEN", "canary-key-3")

    def tells_all(asked: Asked) -> tuple[int, Any]:
        status, said = Chat()(asked)
        bad = asked.path == "/v1/chat/completions" and "seed" in asked.body
        return refused(f"bad seed of {asked.headers['authorization']}") if bad else (status, said)

    name = recipe({"type": "openai", "url": serve(tells_all).url, "model": "m", "key_env": "MY_KEY"})
    for words in (["doctor", name], ["doctor", name, "--json"]):
        said = cli(*words)
        assert "canary" not in said.out + said.err
        assert "MY_KEY" in said.out
    checks = doctor(name)
    assert {variable: checks["keys", variable]["found"] for variable in ("MY_KEY", "OPENAI_API_KEY", "HF_TOKEN")} == {
        "MY_KEY": "set, for engine",
        "OPENAI_API_KEY": "set",
        "HF_TOKEN": "set",
    }
    assert "[key]" in checks["engine", "seed"]["found"]
    monkeypatch.delenv("MY_KEY")
    without = doctor(name)
    assert without["keys", "MY_KEY"]["state"] == without["engine", "server"]["state"] == "problem"


def test_a_server_of_a_scorer_is_asked_for_a_score(doctor: Any, serve: Any) -> None:
    def rewards(asked: Asked) -> tuple[int, Any]:
        if asked.path == "/classify":
            return 200, {"data": [{"index": 0, "label": "LABEL_0", "probs": [0.5], "num_classes": 1}]}
        return Chat()(asked)

    server = serve(rewards)
    spec = {"type": "reward_model", "server": {"url": server.url, "model": "m"}}
    several = {**spec, "label": "a", "classes": ["a", "b"]}
    checks = doctor(recipe(scorers={"good": spec}, selection=["good >= 1"], evaluation={"scorers": {"odd": several}}))
    assert checks["scorers.good.server", "scores"]["state"] == "ok"
    odd = checks["evaluation.scorers.odd.server", "scores"]
    assert odd["state"] == "problem"
    assert "the model has 1 classes, and 'classes' names 2" in odd["found"]
    assert "/v1/chat/completions" not in {one.path for one in server.asked}, "a model that scores is asked for no chat"


def test_a_server_that_is_named_twice_is_looked_at_once(doctor: Any, serve: Any) -> None:
    server = serve(Chat())
    engine = {"type": "openai", "url": server.url, "model": "m"}
    judge = {"type": "my.py:judge", "server": {"url": server.url, "model": "m"}}
    checks = doctor(recipe(engine, scorers={"kind": judge}, selection=["kind >= 1"]))
    assert checks["engine", "n"]["state"] == checks["scorers.kind.server", "n"]["state"] == "ok"
    assert len([one for one in server.asked if one.path == "/version"]) == 1


# -- what a recipe names -----------------------------------------------------------------------------------------------


def test_servers_are_found_wherever_a_recipe_may_name_them() -> None:
    at = {"url": "http://h/v1", "model": "m"}
    said = {
        "model": ["org/policy", "other"],
        "engine": {"type": "openai", "url": "http://e/v1", "temperature_of_the_day": 3},
        "sampling": {"candidates": 4, "generators": [{"type": "vllm", **at}, {"type": "local"}, {"server": at}]},
        "scorers": {"a": "length", "b": {"type": "judge", "server": at}, "c": {"type": "x", "schema": {"url": {}}}},
        "evaluation": {"scorers": {"d": {"type": "reranker", "server": {"url": "nowhere", "model": "m"}}}},
        "training": {"type": "sft", "lora": {"rank": 8}},
    }
    found = {one.where: one for one in named_servers(said)}
    assert list(found) == [
        "engine",
        "sampling.generators[0]",
        "sampling.generators[2].server",
        "scorers.b.server",
        "evaluation.scorers.d.server",
    ]
    assert found["engine"].endpoint is not None
    assert (found["engine"].endpoint.url, found["engine"].endpoint.model) == ("http://e/v1", "org/policy")
    assert found["evaluation.scorers.d.server"].endpoint is None
    assert "needs an address" in found["evaluation.scorers.d.server"].mistake


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"engine": "local", "scorers": None, "sampling": "x", "evaluation": []},
        {"engine": {"type": "vllm", "model": "m"}},
        {"scorers": {"mine": {"type": "my.py:F", "url": "http://h"}}},
    ],
)
def test_what_names_no_server_is_none(said: Any) -> None:
    assert named_servers(said) == []
