"""The network of a run, loaded once: the engine samples from it, the trainer adapts it, and neither loads it again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rsft.errors import ModelError
from rsft.models.chat import ChatTokenizer
from rsft.models.devices import leave_unused_memory, quick_dtype, show_no_loading
from rsft.models.references import ModelFolder, content_hash
from rsft.types import Policy


class Network:
    """A causal language model in memory, with the policy whose weights it shows at the moment.

    `module` is the plain transformers model, with the policy's weights in it: an adapter is added to the base's weights
    once, rather than multiplied beside them in every step. Only in training is it a PEFT model.
    """

    def __init__(
        self,
        folder: Path,
        reference: str,
        module: Any,
        chat: ChatTokenizer,
        base_hash: str,
        *,
        trust_remote_code: bool = False,
    ) -> None:
        self.folder = folder
        self.reference = reference
        self.trust_remote_code = trust_remote_code
        self.chat = chat
        self.base = Policy(hash=base_hash)
        self.policy = self.base
        self.module = module
        self._has_base_weights = True

    @classmethod
    def load(
        cls, model: ModelFolder, *, dtype: str = "auto", device: str | None = None, trust_remote_code: bool = False
    ) -> Network:
        """Load the base model onto a device and in a precision: by default the quickest ones that this machine has."""
        import torch
        from transformers import AutoModelForCausalLM

        show_no_loading()
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        chosen = quick_dtype(device) if dtype == "auto" else getattr(torch, dtype)
        try:
            module = AutoModelForCausalLM.from_pretrained(
                model.path, dtype=chosen, use_safetensors=True, trust_remote_code=trust_remote_code
            )
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"The model '{model.reference}' can't be loaded from {model.path}: {error}") from error
        chat = ChatTokenizer.load(model.path, trust_remote_code=trust_remote_code)
        return cls(
            model.path,
            model.reference,
            module.to(device).eval(),
            chat,
            content_hash(model.path),
            trust_remote_code=trust_remote_code,
        )

    @property
    def device(self) -> Any:
        return self.plain().device

    @property
    def dtype(self) -> Any:
        return self.plain().dtype

    @property
    def context_length(self) -> int:
        """How many tokens the model can read, prompt and reply together."""
        return int(getattr(self.plain().config, "max_position_embeddings", None) or 1 << 30)

    def plain(self) -> Any:
        """The transformers model, without the adapter that may stand around it."""
        return self.module.get_base_model() if hasattr(self.module, "peft_config") else self.module

    def show(self, policy: Policy) -> None:
        """Make the network compute as `policy` does."""
        if policy == self.policy:
            return
        check_there(policy)
        self._unwrap()
        if not self._has_base_weights:
            self._put_weights(self.folder)
        self._has_base_weights = policy == self.base
        if policy.weights is not None:
            self._put_weights(Path(policy.weights))
        if policy.adapter is not None:
            # In fp32: the sum is rounded to the model's precision once.
            self.wrap(policy)
            self.module = self.module.merge_and_unload()
        self.policy = policy
        self.module.eval()

    def wrap(self, policy: Policy, *, trainable: bool = False) -> None:
        """Put the policy's adapter around the plain model, in fp32."""
        from peft import PeftModel

        assert policy.adapter is not None
        check_there(policy)
        self.module = PeftModel.from_pretrained(self.plain(), policy.adapter, is_trainable=trainable)

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """Leave a GPU's memory to other processes for a while."""
        device = self.device
        if device.type == "cuda":
            self.module.to("cpu")
            leave_unused_memory(device)
        try:
            yield
        finally:
            self.module.to(device)

    def _unwrap(self) -> None:
        if hasattr(self.module, "peft_config"):
            self.module = self.module.unload()

    def _put_weights(self, folder: Path) -> None:
        from safetensors.torch import load_file

        state: dict[str, Any] = {}
        for file in sorted(folder.glob("*.safetensors")):
            state |= load_file(file)
        plain = self.plain()
        missing, unexpected = plain.load_state_dict(state, strict=False)
        tied = set(getattr(plain, "_tied_weights_keys", None) or ())
        if unexpected or set(missing) - tied:
            raise ModelError(f"The weights in {folder} are not those of '{self.reference}': {missing or unexpected}")
        plain.tie_weights()


def check_there(policy: Policy) -> None:
    """Raise ModelError if the policy's weights are not where they were, or never were on this machine."""
    if policy.hosted is not None:
        raise ModelError(
            f"The policy {policy.hash} is '{policy.hosted}' at its host: there are no weights of it here to load, to "
            "merge or to train on. Sample from it through that host (engine: openai), and train it on there (training: "
            "openai)."
        )
    if policy.folder is not None and not policy.folder.is_dir():
        raise ModelError(
            f"The weights of the policy {policy.hash} are not in {policy.folder} any more. `rsft clean --policies` "
            "removes those that the run itself does not need. A run that takes over from it (--fork) trains them again."
        )


def adapter_hash(base: Policy, adapter: Path) -> str:
    """What an adapter over a base model is: a hash (16 hex digits) of both contents."""
    whole = hashlib.sha256(base.hash.encode())
    whole.update((adapter / "adapter_model.safetensors").read_bytes())
    return whole.hexdigest()[:16]
