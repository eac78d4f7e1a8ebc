"""Workers whose engines start servers, which end with them, however that is; vLLM, which serves there as it does here;
and the store that machines write to."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from machines import Machines, actors, nobody_is_left

import rsft
from command import Command
from questions import write_questions
from rsft import failpoints
from rsft.cluster.rolls import read_rolls
from rsft.store import RunFolder
from rsft.types import Candidate, CandidateKey

# Other tests' workers would be taken for those of these.
pytestmark = pytest.mark.alone

VLLM = Path(__file__).parents[2] / ".venv-vllm"
RECIPE = """
model: none
engine: {type: mine.py:Serving}
prompts: {train: train.jsonl, heldout: heldout.jsonl}
sampling: {candidates: 8}
scorers: {even: {type: format, pattern: "two|four"}}
selection: [even >= 1, {cap: 2}]
training: {type: "null"}
guards: {plateau: off}
loop: {iterations: 1}
"""
# An engine with a server, which has a child that is deaf to SIGTERM; both ids are written down.
MINE = '''
import os, sys, time
from pathlib import Path
from pydantic import PrivateAttr
from rsft.engines import OwnEngine
from rsft.servers.process import ServerProcess

SERVER = """
import http.server, os, pathlib, subprocess, sys
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
child.stdout.readline()
pathlib.Path(sys.argv[2]).write_text(f"{os.getpid()} {child.pid}")
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Health).serve_forever()
"""


class Serving(OwnEngine):
    trained = ("adapter", "weights")
    _server: ServerProcess = PrivateAttr()

    def prepare(self, student):
        ids = Path(f"ids-{os.getpid()}").absolute()
        words = [sys.executable, "-c", SERVER]
        self._server = ServerProcess(lambda port: [*words, str(port), str(ids)], ids.with_suffix(".log"))
        self._server.start()

    def replies(self, policy, requests):
        time.sleep(0.05)
        return [("one", "two", "three", "four")[request.seed % 4] for request in requests]

    def close(self):
        self._server.stop(for_good=True)
'''
SMALL = (
    "training.lora.rank=8",
    "training.max_steps=2",
    "evaluation.samples=0",
    "loop={iterations: 1, control: none}",
    "selection=[tidy >= 1]",
    "guards={plateau: off}",
    "prompts.train_limit=3",
    "prompts.heldout_limit=2",
    "sampling.candidates=3",
    "sampling.max_tokens=16",
    "scorers={tidy: {type: format, one_line: true}}",
    # One at a time, and nothing remembered: what vLLM draws changes, by rounding, with what else is in its batch, and
    # with how much of a prompt it has read before.
    f"engine={{type: vllm, environment: {VLLM}, concurrency: 1, arguments: "
    "{enforce_eager: true, max_model_len: 1024, no_enable_prefix_caching: true}}",
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert nobody_is_left()


def on(three: Machines, **cluster: Any) -> str:
    return f"cluster={json.dumps({'ray': three.address, 'engine': {'workers': 2, 'cpus': 1}, **cluster})}"


def at_draws(**kills: Callable[[], object]) -> Callable[[str], None]:
    """Calls what is named `at_N` when the Nth candidate has come."""
    drawn = [0]

    def listener(name: str) -> None:
        if name == "sample.drawn":
            drawn[0] += 1
            kills.get(f"at_{drawn[0]}", lambda: None)()

    return listener


def of_process(pid: int) -> list[psutil.Process]:
    """The server that a process has started: its guard, itself, and all of its own."""
    return psutil.Process(pid).children(recursive=True)


def all_ended(running: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(running, timeout=60)[1]


def test_a_worker_s_server_ends_with_it_and_with_its_machine(here: Path, three: Machines) -> None:
    Path("mine.py").write_text(MINE)
    Path("serving.yaml").write_text(RECIPE)
    write_questions(train=16, heldout=4)
    ended: list[str] = []

    def kill_worker() -> None:
        victim = actors()[0]
        server = of_process(victim)
        assert len(server) >= 3, "a guard, the server and its child"
        os.kill(victim, signal.SIGKILL)
        assert all_ended(server)
        ended.append("worker")

    def kill_machine() -> None:
        raylet = next(pid for pid in three.raylets() if len(of_process(pid)) > 3)
        server = [one for one in of_process(raylet) if "http.server" in " ".join(one.cmdline())]
        os.kill(raylet, signal.SIGKILL)
        assert all_ended(server)
        ended.append("machine")

    with failpoints.listening(at_draws(at_10=kill_worker, at_60=kill_machine)):
        rsft.run(rsft.load_recipe("serving.yaml", "run=many", on(three)))
    assert ended == ["worker", "machine"]
    left = [int(pid) for file in here.glob("ids-*") if file.suffix != ".log" for pid in file.read_text().split()]
    assert len(left) >= 6, "two workers' servers, and that of a third"
    assert all_ended([psutil.Process(pid) for pid in left if psutil.pid_exists(pid)])
    three.mend()


def test_the_doctor_tries_the_store_from_each_machine(here: Path, three: Machines, cli: Command) -> None:
    Path("mine.py").write_text(MINE)
    Path("serving.yaml").write_text(RECIPE)
    write_questions(train=1, heldout=1)
    (here / "shared").mkdir()
    store = f"store.segments={(here / 'shared').as_uri()}"
    said = cli("doctor", "serving.yaml", "--ray", "--set", f"cluster.ray={three.address}", "--set", store, "--json")
    found = [check for check in said.json["checks"] if check["about"] == "store"]
    assert len(found) == 1 + len(three.others) + 1, "each machine, and this process"
    assert all(check["state"] == "ok" for check in found), found
    assert not list((here / "shared").iterdir())


def drawn(run: str) -> dict[CandidateKey, Candidate]:
    """What the base wrote to train on."""
    with RunFolder.open(Path(run), write=False) as folder:
        keys = set(folder.decisions("policy", iteration=1))
        found = [one for one in folder.candidates() if one.key in keys]
        assert max(Counter(one.key for one in folder.candidates()).values()) == 1
    return {one.key: one for one in found}


@pytest.mark.model
@pytest.mark.skipif(not (VLLM / "ready").is_file(), reason="vLLM is not installed: make vllm-env")
def test_vllm_serves_on_a_machine_and_its_worker_may_be_killed(here: Path, three: Machines) -> None:
    ended: list[bool] = []

    def kill_worker() -> None:
        (victim,) = (pid for pid in actors() if of_process(pid))
        server = of_process(victim)
        assert any("VLLM" in one.name() for one in server)
        os.kill(victim, signal.SIGKILL)
        ended.append(all_ended(server))

    with failpoints.listening(at_draws(at_4=kill_worker)):
        many = on(three, engine={"workers": 1, "cpus": 1})
        summary = rsft.run(rsft.load_recipe("demo", "run=many", *SMALL, many))
    assert ended == [True]
    first, second = read_rolls(Path("many")).workers
    assert first["gone"]
    assert not second["gone"]
    assert all(one["candidates"] for one in (first, second))
    logs = [Path(f"many/servers/worker-{number}/vllm.log").read_text() for number in (1, 2)]
    assert all("Application startup complete" in log for log in logs)
    policy = summary["iterations"][0]["policy"]["hash"]
    assert f"Loaded new LoRA adapter: name 'policy-{policy}'" in logs[1]
    assert all_ended([process for process in psutil.process_iter() if "VLLM" in process.name()])
    with pytest.raises(_EnoughError), failpoints.listening(_until_it_trains):
        rsft.run(rsft.load_recipe("demo", "run=alone", *SMALL))
    alone, by_worker = drawn("alone"), drawn("many")
    assert alone.keys() == by_worker.keys()
    for key, one in alone.items():
        other = by_worker[key]
        assert (one.text, one.token_ids, one.finish_reason) == (other.text, other.token_ids, other.finish_reason)
        assert one.logprob == pytest.approx(other.logprob, abs=0.05), "but for rounding"


class _EnoughError(Exception):
    """What was to be seen has been."""


def _until_it_trains(name: str) -> None:
    if name == "train.begun":
        raise _EnoughError
