"""A GGUF file becomes a safetensors folder, once.

transformers can read a GGUF but not save what it read, so the weights are copied into a plain model of the same
config. They are kept in bf16: a quantised file holds less than that.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from rsft.errors import ModelError


def convert(gguf: Path, cache: Path) -> Path:
    """The folder in `cache` that holds the model of `gguf`, converted if it is not there yet.

    The folder's name carries the hash of the file, so another file never meets an old conversion. It appears whole or
    not at all: two processes may convert at once, and the first to finish wins.
    """
    with gguf.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()[:12]
    folder = cache / f"{gguf.stem}-{digest}"
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=cache))
    try:
        _write(gguf, aside)
        aside.chmod(0o755)
        os.rename(aside, folder)
    except OSError as error:
        if not folder.is_dir():
            raise ModelError(f"{gguf.name} can't be converted into {folder}: {error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _write(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = type(read)(config)
    plain.load_state_dict(read.state_dict())
    plain = plain.to(torch.bfloat16)
    plain.generation_config.eos_token_id = tokenizer.eos_token_id
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
