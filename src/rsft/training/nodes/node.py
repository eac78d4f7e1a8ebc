"""What happens on a node: an actor that has accelerate launch, hears what is said, and ends it all when it ends."""

from __future__ import annotations

import os
import queue
import shutil
import socket
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from rsft.errors import ModelError
from rsft.machines.homes import Home, own_home
from rsft.models.references import cache_folder, resolve
from rsft.store import shipping
from rsft.store.shipping import Manifest, Unpacking
from rsft.training.launch import OWN_DISK, STARTER, start
from rsft.version import __version__

# How long the actor waits for something to tell, and launched processes for each other when they are to end.
_NEWS_SECONDS, _END_SECONDS = 1.0, 5.0


@dataclass(frozen=True, slots=True)
class About:
    """How the others reach a node, and what runs there."""

    address: str
    port: int
    version: str


@dataclass(frozen=True, slots=True)
class Heard:
    """What the processes of a node said since they were asked last, how accelerate ended (None: it runs), and what
    there is in a folder of the node's own."""

    lines: tuple[str, ...]
    code: int | None
    made: tuple[str, ...]


class Node:
    """The actor. Its methods run in threads beside each other; a folder is received by one caller, part by part."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._home: Home | None = None
        self._receiving: Unpacking | None = None
        self._running: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._lines: queue.Queue[str] = queue.Queue()

    def __repr__(self) -> str:
        return f"training on {self._name}"

    def about(self) -> About:
        """Where it is; the port is free at this moment."""
        import ray

        with socket.socket() as free:
            free.bind(("", 0))
            return About(ray.util.get_node_ip_address(), free.getsockname()[1], __version__)

    def sees(self, files: Mapping[str, int]) -> bool:
        """Whether these files are here, with these sizes."""
        return all(os.path.isfile(path) and os.path.getsize(path) == size for path, size in files.items())

    def model(self, reference: str, folder: str) -> tuple[str, str]:
        """The folder of the base model on this node, or '' and why there is none."""
        if (Path(folder) / "config.json").is_file():
            return folder, ""
        try:
            return str(resolve([reference]).path), ""
        except ModelError as error:
            return "", str(error)

    def expect(self, manifest: Manifest, policy: str | None) -> tuple[str, bool]:
        """Where a folder will be on this node, and whether it is owed: the files of a policy, which may be here from
        before, or (None) those of the job."""
        if policy is None:
            target = self._own_home() / "job"
        else:
            target = shipping.place(cache_folder() / "policies", policy, manifest)
            if shipping.is_there(target, manifest):
                os.utime(target)
                return str(target), False
        self._receiving = Unpacking(manifest, target)
        return str(target), True

    def take(self, part: bytes) -> None:
        """Take the next part of what is expected."""
        assert self._receiving is not None
        self._receiving.add(part)

    def took(self) -> None:
        """All of it came."""
        assert self._receiving is not None
        with self._receiving as done:
            done.finish()
        self._receiving = None
        if self._home is None or done.target.parent != self._home.path:
            os.utime(done.target)
            shipping.sweep(done.target.parent)

    def begin(self, configuration: str, options: Sequence[str], environment: Mapping[str, str]) -> None:
        """Have accelerate launch."""
        file = self._own_home() / "accelerate.yaml"
        file.write_text(configuration, encoding="utf-8")
        apart = {OWN_DISK: "1"} if self._job.is_dir() else {}
        self._running = start(["--config_file", str(file), *options], **apart, **environment)
        self._reader = threading.Thread(target=self._read, args=(self._running.stdout,), daemon=True)
        self._reader.start()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._lines.put(line)

    def heard(self) -> Heard:
        """What was said; waits a moment for it."""
        assert self._running is not None
        assert self._reader is not None
        lines: list[str] = []
        code = self._running.poll()
        if code is None:
            with suppress(queue.Empty):
                lines.append(self._lines.get(timeout=_NEWS_SECONDS))
        else:
            self._reader.join(_NEWS_SECONDS)
        while not self._lines.empty():
            lines.append(self._lines.get())
        return Heard(tuple(lines), code, self._made())

    def _made(self) -> tuple[str, ...]:
        names = (path.name for pattern in ("weights-*", "checkpoint-*", "log.json") for path in self._job.glob(pattern))
        return tuple(sorted(names))

    def send(self, name: str) -> Iterator[Manifest | bytes]:
        """A file or a folder of the job's: its manifest, then its parts. Raises FileNotFoundError if it is gone."""
        # The trainer may remove it meanwhile: what is sent is a second name of each file.
        aside = self._own_home() / f"sending-{uuid.uuid4().hex}"
        aside.mkdir()
        try:
            source = self._job / name
            if source.is_dir():
                with suppress(shutil.Error):
                    shutil.copytree(source, aside / name, copy_function=_link)
            else:
                _link(source, aside / name)
            if not source.exists():  # it goes as a whole, so what stays was copied as a whole
                raise FileNotFoundError(str(source))
            manifest = shipping.manifest_of(aside)
            yield manifest
            yield from shipping.parts(aside, manifest)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def end(self) -> None:
        """End all that was launched, and leave nothing in a folder of the node's own."""
        _each(self._launched(), psutil.Process.terminate)
        if self._running is not None:
            with suppress(subprocess.TimeoutExpired):
                self._running.wait(_END_SECONDS)
        # Whoever is left: one that was only just begun, too, which showed no environment yet and so was not seen.
        left = self._launched()
        _each(left, psutil.Process.terminate)
        _, left = psutil.wait_procs(left, timeout=_END_SECONDS)
        _each(left, psutil.Process.kill)
        psutil.wait_procs(left, timeout=_END_SECONDS)
        if self._receiving is not None:
            self._receiving.close()
        if self._reader is not None and self._running is not None and self._running.stdout is not None:
            self._reader.join(_END_SECONDS)
            self._running.stdout.close()
        if self._home is not None:
            self._home.remove()

    def _launched(self) -> list[psutil.Process]:
        """The processes that end with this one, whoever is their parent by now."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get(STARTER) == str(os.getpid()):
                    found.append(process)
        return found

    @property
    def _job(self) -> Path:
        return self._own_home() / "job"

    def _own_home(self) -> Path:
        """A folder of this actor's, on a disk of the node's own. Those of actors that were killed are removed."""
        if self._home is None:
            self._home = own_home("node-", cache_folder() / "trainings")
        return self._home.path


def _each(processes: Iterable[psutil.Process], act: Callable[[psutil.Process], None]) -> None:
    """Do something to each process that is still there."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            act(process)


def _link(source: str | Path, target: str | Path) -> None:
    """A second name for a file, or where the disk has no such thing a copy."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)
