"""Engines behind a server that speaks OpenAI's protocol: any that runs, or vLLM, which rsft starts itself."""

from rsft.engines.remote.engine import OpenAIEngine
from rsft.engines.remote.vllm import VllmEngine

__all__ = ["OpenAIEngine", "VllmEngine"]
