"""Servers that rsft starts itself come up, say why not, and end with it, however it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from rsft.errors import ServerError
from rsft.servers import process
from rsft.servers.process import ServerProcess, is_up

# A server with a child that is deaf to SIGTERM; it writes both ids to a file, and says its environment.
SERVER = """
import http.server, os, pathlib, subprocess, sys, time
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
child.stdout.readline()
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Health)
print("it knows", os.environ.get("RSFT_TEST"), flush=True)
part = pathlib.Path(sys.argv[2] + ".part")
part.write_text(f"{os.getpid()} {child.pid}")
part.rename(sys.argv[2])
server.serve_forever()
"""


def command(ids: Path) -> list[str]:
    return [sys.executable, "-c", SERVER, "{port}", str(ids)]


def processes_of(ids: Path) -> list[psutil.Process]:
    return [psutil.Process(int(pid)) for pid in ids.read_text().split()]


def all_end(running: Sequence[psutil.Process]) -> bool:
    return not psutil.wait_procs(running, timeout=60)[1]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    words = command(tmp_path / "ids")
    made = ServerProcess(
        lambda port: [word.format(port=port) if word == "{port}" else word for word in words],
        tmp_path / "logs" / "server.log",
        environment={"RSFT_TEST": "what it was told"},
        patience_seconds=60,
    )
    yield made
    made.stop()


def test_a_server_comes_up_and_ends_with_all_its_processes(server: ServerProcess, tmp_path: Path) -> None:
    assert not server.is_alive
    server.start()
    server.start()  # it runs already
    assert server.is_alive
    running = processes_of(tmp_path / "ids")
    assert len(running) == 2
    assert "it knows what it was told" in (tmp_path / "logs" / "server.log").read_text()
    server.stop()
    server.stop()
    assert not server.is_alive
    assert all_end(running)
    server.start()
    assert server.is_alive


def test_a_server_that_was_ended_for_good_is_not_started_by_a_straggler(server: ServerProcess) -> None:
    server.start()
    server.stop(for_good=True)
    with pytest.raises(ServerError, match="not started again"):
        server.start()
    assert not server.is_alive


def test_a_server_that_was_never_started_may_be_stopped(server: ServerProcess) -> None:
    server.stop()
    assert not server.is_alive


def test_a_server_that_died_is_started_again_on_its_port(server: ServerProcess, tmp_path: Path) -> None:
    server.start()
    port, running = server.port, processes_of(tmp_path / "ids")
    running[0].kill()
    assert server._process is not None
    server._process.wait(60)
    assert all_end(running)  # its child as well
    server.start()
    assert server.port == port


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere a port is not held")
def test_nobody_is_given_the_port_of_a_server_that_is_still_to_start(server: ServerProcess) -> None:
    with socket.socket() as another, pytest.raises(OSError, match="in use"):
        another.bind(("127.0.0.1", server.port))
    server.start()
    assert is_up(server.address + "/health")
    server.stop(for_good=True)
    with socket.socket() as another:
        another.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        another.bind(("127.0.0.1", server.port))
        another.listen()


STARTER = """
import signal
import sys
from pathlib import Path
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup, by which the tests may have been started, has it ignored
from rsft.servers.process import ServerProcess
from test_process import command
words = command(Path(sys.argv[1]))
server = ServerProcess(lambda port: [str(port) if word == "{port}" else word for word in words], Path(sys.argv[2]))
server.start()
print(server._process.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def starter(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has started a server, and ends when its input does."""
    words = [sys.executable, "-c", STARTER, str(tmp_path / "ids"), str(tmp_path / "log")]
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    ) as started:
        yield started
        started.kill()


def guard_of(starter: subprocess.Popen[str]) -> psutil.Process:
    assert starter.stdout is not None
    return psutil.Process(int(starter.stdout.readline()))


def test_the_whole_group_ends_when_its_starter_is_killed(starter: subprocess.Popen[str], tmp_path: Path) -> None:
    guard = guard_of(starter)
    running = [guard, *processes_of(tmp_path / "ids")]
    starter.kill()
    assert all_end(running)


def test_the_whole_group_ends_when_its_starter_is_killed_with_its_process_group(
    starter: subprocess.Popen[str], tmp_path: Path
) -> None:
    guard = guard_of(starter)
    running = [guard, *processes_of(tmp_path / "ids")]
    os.killpg(starter.pid, signal.SIGKILL)
    assert all_end(running)


def test_the_whole_group_ends_when_its_starter_ends(starter: subprocess.Popen[str], tmp_path: Path) -> None:
    guard = guard_of(starter)
    running = [guard, *processes_of(tmp_path / "ids")]
    assert starter.stdin is not None
    starter.stdin.close()
    assert starter.wait(60) == 0
    assert all_end(running)


@pytest.mark.parametrize("sent", [signal.SIGHUP, signal.SIGTERM])
def test_the_whole_group_ends_when_the_terminal_is_closed(
    starter: subprocess.Popen[str], tmp_path: Path, sent: signal.Signals
) -> None:
    guard = guard_of(starter)
    running = [guard, *processes_of(tmp_path / "ids")]
    os.killpg(starter.pid, sent)  # the starter hears it, and guard and server do not
    assert all_end(running)


def test_the_guard_leaves_an_interruption_to_its_starter(server: ServerProcess) -> None:
    server.start()
    assert server._process is not None
    server._process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        server._process.wait(1.5)
    assert is_up(server.address + "/health")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a child of its parent's end")
def test_the_server_ends_when_its_guard_is_killed(server: ServerProcess, tmp_path: Path) -> None:
    server.start()
    leader, child = processes_of(tmp_path / "ids")
    assert server._process is not None
    server._process.kill()
    assert all_end([leader])
    child.kill()


def test_a_command_that_fails_shows_the_end_of_its_log(tmp_path: Path) -> None:
    said = "import sys; print('x' * 5000); sys.exit('no memory left')"
    server = ServerProcess(lambda port: [sys.executable, "-c", said], tmp_path / "log")
    with pytest.raises(ServerError, match=r"(?s)did not start\. The end of its log .*no memory left") as caught:
        server.start()
    assert len(str(caught.value)) < 2000
    assert not server.is_alive


def test_a_command_that_is_not_there_is_named(tmp_path: Path) -> None:
    server = ServerProcess(lambda port: ["no-such-server", str(port)], tmp_path / "log")
    with pytest.raises(ServerError, match="no-such-server can't be started: No such file"):
        server.start()


def test_a_server_that_does_not_come_up_is_ended(tmp_path: Path) -> None:
    said = f"import os, pathlib, time; pathlib.Path({str(tmp_path / 'ids')!r}).write_text(str(os.getpid()))"
    words = [sys.executable, "-c", f"{said}; print('still loading', flush=True); time.sleep(600)"]
    server = ServerProcess(lambda port: words, tmp_path / "log", patience_seconds=2)
    with pytest.raises(ServerError, match=r"(?s)not up within 2 s\. .*still loading"):
        server.start()
    assert not server.is_alive
    assert not psutil.pid_exists(int((tmp_path / "ids").read_text()))


class _Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_port_that_is_taken_meanwhile_is_left_to_who_has_it(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_PORT_SECONDS", 0.5)
    with ThreadingHTTPServer(("127.0.0.1", server.port), _Health) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        with pytest.raises(ServerError, match="Another program uses the port"):
            server.start()
        assert is_up(server.address + "/health")  # the other one
        other.shutdown()


def test_another_server_that_answers_is_not_taken_for_one_that_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ServerProcess(lambda port: [sys.executable, "-c", "import sys; sys.exit('in use')"], tmp_path / "log")

    def another_answers(address: str) -> bool:
        assert server._process is not None
        server._process.wait(60)
        return True

    monkeypatch.setattr(process, "is_up", another_answers)
    with pytest.raises(ServerError, match="in use"):
        server.start()


def test_no_proxy_stands_between_a_machine_and_itself(server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    server.start()
    assert is_up(server.address + "/health")
