"""The engine 'vllm': rsft starts `vllm serve` itself, on this machine and for itself alone, or uses one that runs."""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from rsft.engines.options import checked_options
from rsft.engines.remote.engine import RemoteEngine
from rsft.engines.remote.names import AdapterNames, Probe
from rsft.engines.remote.options import OpenAIOptions, VllmOptions
from rsft.errors import ModelError, RecipeError
from rsft.models.merging import whole_model
from rsft.models.network import check_there
from rsft.models.student import Student
from rsft.servers import Server
from rsft.servers.process import ServerProcess, wait_until_up
from rsft.types import Kind, Policy

# The base model's name at a server of our own.
_BASE = "base"
# Requests at a time that a server of our own is asked first: nobody else asks it.
_FIRST = 64
# What vLLM can be told of the ranks of adapters. It takes room, and on a CPU time, for the greatest.
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
# On a CPU, memory for keys and values in GiB.
_CPU_GIB = "4"


class Serve:
    """`vllm serve` with the base model, or with a policy that is a whole model."""

    def __init__(self, said: VllmOptions, student: Student, folder: Path, key: str) -> None:
        self.policy = student.base
        self._said = said
        self._student = student
        self._python = _python(said.environment)
        self.process = ServerProcess(
            self._command,
            folder / "vllm.log",
            environment={"VLLM_API_KEY": key, **_environment()},
            patience_seconds=said.patience_seconds,
        )

    @property
    def name(self) -> str:
        """What the server calls what it serves."""
        return _BASE if self.policy == self._student.base else f"policy-{self.policy.hash}"

    def start(self, policy: Policy) -> None:
        """Serve a policy's weights, or the base's."""
        if policy != self.policy:
            self.process.stop()
            self.policy = policy
        self.process.start()

    def _command(self, port: int) -> Sequence[str]:
        base = str(self._student.folder.path)
        fixed: dict[str, str | int | float | bool] = {
            "host": "127.0.0.1",
            "port": port,
            "served-model-name": self.name,
            "tokenizer": base,
            "dtype": dtype_of(self._student),
            "generation-config": "vllm",  # no default of the model's: the recipe's law is all there is
            "logprobs-mode": "processed_logprobs",
            **self._for_adapters(),
            "enable-prefix-caching": True,
            # On a CPU vLLM dies of a request with a seed whose prompt it reads in parts (0.32: "CPU Generator does not
            # use offset").
            "no-enable-chunked-prefill": not has_gpu(),
            "disable-uvicorn-access-log": True,
            "trust-remote-code": self._student.trust_remote_code,
        }
        further = {key.replace("_", "-"): value for key, value in self._said.arguments.items()}
        module = "vllm.entrypoints.openai.api_server"  # what `vllm serve` runs, whatever the package is called
        return [self._python, "-m", module, "--model", self.policy.weights or base, *_as_words(fixed | further)]

    def _for_adapters(self) -> dict[str, str | int | float | bool]:
        if self._said.adapters == "merge" or (self._said.max_lora_rank is None and self._student.lora_rank is None):
            return {}
        wanted = self._said.max_lora_rank or self._student.lora_rank or 0
        return {"enable-lora": True, "max-lora-rank": next((rank for rank in _RANKS if rank >= wanted), wanted)}


class VllmNames(AdapterNames):
    """Adapters are loaded while the server runs; for a whole model, and back, a server of our own is started anew."""

    def __init__(
        self, server: Server, student: Student, base: str, probe: Probe, serve: Serve | None, *, merges: bool
    ) -> None:
        super().__init__(server, student, base, probe)
        self._serve = serve
        self._merges = merges

    def name(self, policy: Policy) -> str:
        if self._serve is None:
            return super().name(policy)
        check_there(policy)
        if policy.adapter is not None and self._merges:
            policy = Policy(policy.hash, weights=str(whole_model(self.student, policy)))
        if policy.weights is not None:
            self._serve.start(policy)
            if self.probe.remembers:  # else the base is not served now, and these weights are all that the server got
                self.probe.prove(self._serve.name, self.base)
            return self._serve.name
        was_up = self._serve.process.is_alive and self._serve.policy == self.student.base
        self._serve.start(self.student.base)
        if not was_up:
            self.renew()
        self.probe.remember(self.base)
        return super().name(policy)


class VllmEngine(RemoteEngine):
    """Samples from vLLM, by token ids."""

    def __init__(self, said: VllmOptions, student: Student, server: Server, serve: Serve | None) -> None:
        self._said = said
        self._serve = serve
        self._student = student
        super().__init__(_asked(said, server.endpoint.url, server.endpoint.model, ours=bool(serve)), student, server)
        server.revive = self._revive

    @classmethod
    def serves(cls, options: Mapping[str, Any]) -> Collection[Kind]:
        ours = checked_options(VllmOptions, "vllm", options).url is None
        kinds: list[Kind] = ["adapter", "weights"] if ours else ["adapter"]
        return kinds

    @classmethod
    def open(cls, options: Mapping[str, Any], student: Student | None, folder: Path) -> VllmEngine:
        said = checked_options(VllmOptions, "vllm", options)
        if student is None:
            raise ModelError("The engine 'vllm' needs a model as files that it can load.")
        if said.url is not None:
            server = Server(_asked(said, said.url, said.model or "?", ours=False))
            if said.model is None:
                server = Server(_asked(said, said.url, server.models()[0], ours=False))
            return cls(said, student, server, None)
        key = secrets.token_urlsafe(24)
        serve = Serve(said, student, folder, key)
        return cls(
            said,
            student,
            Server(_asked(said, serve.process.address + "/v1", _BASE, ours=True), key=key, first=_FIRST),
            serve,
        )

    @property
    def description(self) -> dict[str, object]:
        said: dict[str, object] = {"engine": "vllm", "dtype": dtype_of(self._student)}
        # They may say how weights are quantised, or what takes part in sampling.
        return said | ({"arguments": dict(self._said.arguments)} if self._said.arguments else {})

    def release(self) -> None:
        """Leave a GPU to the training: a server of our own ends until candidates are wanted again."""
        said = self._said.keep_while_training
        keeps = not has_gpu() if said is None else said
        if self._serve is not None and not keeps:
            self._serve.process.stop()

    def close(self) -> None:
        super().close()
        if self._serve is not None:
            self._serve.process.stop(for_good=True)

    def _names(self) -> VllmNames:
        base, merges = self.server.endpoint.model, self._said.adapters == "merge"
        return VllmNames(self.server, self._student, base, Probe(self._answer), self._serve, merges=merges)

    def _revive(self) -> None:
        """Bring back a server that is away, or wait until somebody does; and tell it again what it has forgotten."""
        if self._serve is not None:
            self._serve.process.start()
        else:
            wait_until_up(self.server.endpoint.url.removesuffix("/v1") + "/health", self._said.patience_seconds)
        self.names.renew()


def dtype_of(student: Student) -> str:
    """The precision that the model is served in: that which it would have in this process."""
    from rsft.models.devices import quick_dtype

    chosen = quick_dtype("cuda" if has_gpu() else "cpu") if student.dtype == "auto" else student.dtype
    return str(chosen).removeprefix("torch.")


def _asked(said: VllmOptions, url: str, model: str, *, ours: bool) -> OpenAIOptions:
    """How vLLM is asked: by token ids, which come back as well. Of a server of our own it is known whose
    log-probabilities it tells."""
    shared = ("together", "stream", "concurrency", "timeout_seconds", "patience_seconds", "attempts", "key_env")
    asked = {"url": url, "model": model, "reads": "token_ids", "policies": "adapters"}
    asked |= {"logprobs": "law" if ours else "model"} | {key: getattr(said, key) for key in shared}
    return checked_options(OpenAIOptions, "vllm", asked)


def _python(environment: str | None) -> str:
    """The interpreter of the environment that vLLM is installed in. Raises RecipeError where there is none."""
    python = Path(environment or "").expanduser().absolute() / "bin/python"
    if environment is None or not python.is_file():
        what = f"holds no bin/python: {python.parent.parent}" if environment else "is not said"
        raise RecipeError(
            f"engine.environment {what}. vLLM wants other versions of torch and transformers than rsft, so it is "
            "installed in an environment of its own (for a CPU: make vllm-env), whose folder is named: engine: {type: "
            "vllm, environment: .venv-vllm}. A server that runs already is named by its url instead."
        )
    return str(python)


def _environment() -> dict[str, str]:
    said = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "VLLM_NO_USAGE_STATS": "1", "PYTHONPATH": ""}
    if not has_gpu():
        said |= {"VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", _CPU_GIB)}
        every_core = f"0-{(os.cpu_count() or 1) - 1}"  # else it leaves one idle
        said |= {"VLLM_CPU_OMP_THREADS_BIND": os.environ.get("VLLM_CPU_OMP_THREADS_BIND", every_core)}
    return said


def _as_words(arguments: Mapping[str, str | int | float | bool]) -> list[str]:
    words: list[str] = []
    for key, value in arguments.items():
        if value is not False:
            words += [f"--{key}"] if value is True else [f"--{key}", str(value)]
    return words


def has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())
