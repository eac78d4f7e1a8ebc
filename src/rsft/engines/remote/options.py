"""What a recipe says of an engine behind a server."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from rsft.servers import Endpoint

# Options of `vllm serve` by which rsft finds the server that it started, and nobody else does.
_OWN = ("host", "port", "api-key", "model", "served-model-name", "uds", "root-path")


class OpenAIOptions(Endpoint):
    """Options of the engine 'openai': the endpoint's, and how it is asked for candidates."""

    reads: Literal["messages", "text", "token_ids"] = Field(
        "messages",
        description="What the server is given: messages, which it renders itself (chat/completions); the text that the "
        "recipe's model's template renders, or its token ids, which come back as well (completions; token ids: vLLM).",
    )
    together: int = Field(8, ge=1, description="Most candidates in one request (n), where the server can.")
    stream: bool = Field(
        False, description="Have replies told as they are written, so that those nobody wants any more can be ended."
    )
    logprobs: Literal["none", "model", "law"] = Field(
        "none", description="Ask for log-probabilities, which are the plain model's, or the sampling law's."
    )
    policies: Literal["none", "folders", "adapters"] = Field(
        "none",
        description="How the server gets trained policies: not at all; by the name of a folder on this disk, which is "
        "a whole model (transformers serve); as LoRA adapters that it is told to load (vLLM).",
    )
    extra: dict[str, Any] = Field({}, description="More keys of the request, e.g. {reasoning_effort: low}.")

    @model_validator(mode="after")
    def _says_the_law_in_one_place(self) -> OpenAIOptions:
        asked = {"model", "messages", "prompt", "n", "seed", "stream", "logprobs"}
        law = {"temperature", "top_p", "top_k", "min_p", "repetition_penalty", "stop", "max_tokens"}
        if clash := sorted((asked | law | {"max_completion_tokens"}) & self.extra.keys()):
            raise ValueError(f"extra holds '{clash[0]}', which the recipe says elsewhere (sampling, together, stream)")
        return self


class VllmOptions(BaseModel):
    """Options of the engine 'vllm'."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str | None = Field(None, description="One that runs, e.g. http://127.0.0.1:8000/v1; else rsft starts it.")
    model: str | None = Field(None, description="The base model's name at one that runs; found out if left out.")
    key_env: str | None = Field(None, description="The environment variable with the key of one that runs.")
    environment: str | None = Field(
        None, description="The folder of the Python environment that vLLM is installed in, to start it from."
    )
    arguments: dict[str, str | int | float | bool] = Field(
        {}, description="More options of `vllm serve`, e.g. {tensor_parallel_size: 2, max_model_len: 4096}."
    )
    max_lora_rank: Literal[8, 16, 32, 64, 128, 256, 320, 512] | None = Field(
        None, description="Of adapters that it can load; by default the least that holds training.lora.rank."
    )
    adapters: Literal["load", "merge"] = Field(
        "load",
        description="load: each policy's adapter, while it runs; merge: into a whole model, for which it is started "
        "anew (on a CPU vLLM is slow at adapters).",
    )
    together: int = Field(8, ge=1, description="Most candidates in one request (n); one, where replies are streamed.")
    stream: bool = Field(
        False, description="Have replies told as they are written, so that those nobody wants any more can be ended."
    )
    concurrency: int | None = Field(None, ge=1, description="Requests at a time; found out when it is left out.")
    timeout_seconds: float = Field(900, gt=0, description="How long one request may take.")
    patience_seconds: float = Field(900, gt=0, description="How long it may take to start, or be away.")
    attempts: int = Field(6, ge=1, description="How often a request is tried before its candidates have failed.")
    keep_while_training: bool | None = Field(
        None, description="Leave it up while a policy is trained; by default where there is no GPU to share."
    )

    @field_validator("arguments")
    @classmethod
    def _leave_the_address_alone(
        cls, arguments: dict[str, str | int | float | bool]
    ) -> dict[str, str | int | float | bool]:
        for name in arguments:
            if name.replace("_", "-") in _OWN:
                raise ValueError(f"'{name}' is rsft's own business at a server that it starts: leave it out")
        return arguments
