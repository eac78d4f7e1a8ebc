"""Attention of candidates' newest tokens in C, on a CPU: compiled on the machine where it runs, for that machine.

Compiling takes some tenths of a second and happens once: what comes of it is kept beside the converted models.
Where there is no compiler, or it can't do this, `products` does the same in torch, and a warning says so.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import math
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rsft.engines.local.pages import PAGE, Pool
from rsft.engines.local.passes import Pass
from rsft.engines.local.products import Law
from rsft.engines.local.texts import families
from rsft.models.references import cache_folder

_SOURCE = Path(__file__).with_name("kernel.c")
# Not -ffast-math: it would change how the whole process rounds (and NaNs have to stay what they are).
_FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fno-strict-aliasing", "-fopenmp")
_NUMBERS = {torch.bfloat16: "BF16", torch.float16: "FP16", torch.float32: "FP32"}
# Rows that go through a stem together: enough to make unpacking cheap, few enough to stay in a core's nearest cache.
_BLOCK_ROWS = 8


class Kernel:
    """The compiled function, for one kind of numbers and one shape of heads."""

    def __init__(self, library: Path) -> None:
        self._attend = ctypes.CDLL(str(library)).attend
        address, whole, real = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
        self._attend.argtypes = [*[address] * 4, whole, address, address, whole, whole, real, real, whole, ctypes.c_int]
        self._attend.restype = None

    def decode(self, texts: Pass, layer: int, q_RHD: Any, law: Law) -> Any:
        """Each row's newest token looks at its trunk, its stem and its own pages: (R, H, D)."""
        keys, values = texts.pool.keys[layer], texts.pool.values[layer]
        heads, queries = keys.shape[1], q_RHD.shape[1]
        table = texts.once("kernel", lambda: _Table(texts))
        lying = [(keys, values, 0)]
        lying += [(trunk.keys[layer], trunk.values[layer], trunk.keys[layer].shape[1]) for trunk in table.trunks]
        states = np.array([(k.data_ptr(), v.data_ptr(), tokens) for k, v, tokens in lying], np.int64)
        q_RHD = q_RHD.contiguous()
        out = q_RHD.new_empty(*q_RHD.shape[:2], values.shape[-1])
        self._attend(
            q_RHD.data_ptr(),
            out.data_ptr(),
            states.ctypes.data,
            table.blocks.ctypes.data,
            len(table.blocks),
            table.rows.ctypes.data,
            table.visits.ctypes.data,
            heads,
            queries // heads,
            law.scaling * math.log2(math.e),
            (law.softcap or 0.0) * math.log2(math.e),
            law.window or 0,
            torch.get_num_threads(),
        )
        return out


class _Table:
    """Who looks where, as the kernel reads it: see the structures of the same names there."""

    def __init__(self, texts: Pass) -> None:
        self.trunks: list[Any] = []
        numbers: dict[int, int] = {}
        blocks: list[tuple[int, ...]] = []
        rows: list[tuple[int, int]] = []
        visits: list[tuple[int, ...]] = []
        for stem, family in families(texts.rows):
            if stem.trunk and id(stem.trunk) not in numbers:
                numbers[id(stem.trunk)] = len(self.trunks)
                self.trunks.append(stem.trunk.states)
            for first in range(0, len(family), _BLOCK_ROWS):
                members = [texts.rows[number] for number in family[first : first + _BLOCK_ROWS]]
                begin = len(visits)
                if stem.trunk:
                    trunk = 1 + numbers[id(stem.trunk)]
                    visits += _visits(trunk, range(len(stem.trunk.token_ids)), 0, stem.start, 0, len(members))
                visits += _visits(0, stem.pages, stem.start, len(stem.token_ids), 0, len(members))
                for place, row in enumerate(members):
                    visits += _visits(0, row.pages, len(stem.prompt_ids), len(row.token_ids), place, 1)
                blocks.append((len(rows), len(members), begin, len(visits) - begin))
                rows += [(number, row.position) for number, row in zip(family[first:], members, strict=False)]
        self.blocks = np.array(blocks, np.int64)
        self.rows = np.array(rows, np.int64)
        self.visits = np.array(visits, np.int64)


def _visits(of: int, pages: Any, start: int, tokens: int, first_row: int, rows: int) -> list[tuple[int, ...]]:
    """Rows of a block look at a text of `tokens` tokens from position `start` on, which lies in `pages`."""
    return [
        (of, pages[turn], start + done, min(PAGE, tokens - done), first_row, rows)
        for turn, done in enumerate(range(0, tokens, PAGE))
    ]


def kernel_for(pool: Pool, layer: int) -> Kernel | None:
    """The kernel for a layer of the pool, or None where there is none."""
    if pool.device.type != "cpu" or pool.dtype not in _NUMBERS:
        return None
    shape = pool.shapes[layer]
    return _kernel(_NUMBERS[pool.dtype], shape.key_width, shape.value_width)


@cache
def _kernel(number: str, key_width: int, value_width: int) -> Kernel | None:
    defines = [
        f"-DNUMBER_{number}",
        f"-DPAGE={PAGE}",
        f"-DKEY_WIDTH={key_width}",
        f"-DVALUE_WIDTH={value_width}",
    ]
    try:
        return Kernel(_compiled(defines))
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        logging.getLogger("rsft").warning(
            "Attention can't be compiled here, so sampling goes on without (a third slower on two cores). "
            "A C compiler with OpenMP, as `cc` or in $CC, would help. The reason: %s",
            said.strip().splitlines()[0] if said.strip() else type(error).__name__,
        )
        return None


def _compiled(defines: list[str]) -> Path:
    """The library, compiled if it is not in the cache yet. Raises OSError or SubprocessError."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise FileNotFoundError("there is no C compiler")
    version = subprocess.run([compiler, "--version"], check=True, capture_output=True, text=True).stdout
    made_of = (_SOURCE.read_text(encoding="utf-8"), version, _processor(), *_FLAGS, *defines)
    digest = hashlib.sha256("\0".join(made_of).encode()).hexdigest()[:16]
    library = cache_folder() / "kernels" / f"attention-{digest}.so"
    if library.exists():
        return library
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        made = Path(folder) / library.name
        command = [compiler, *_FLAGS, *defines, "-shared", "-fPIC", str(_SOURCE), "-o", str(made), "-lm"]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
        made.replace(library)
    return library


def _processor() -> str:
    """What tells this processor's instructions from another's: a cache may be shared between machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return "\n".join(line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part")))
