"""Both `cpus_as_gpus` and `often`: weights in parts on CPUs, and a checkpoint after each step."""

from __future__ import annotations

import cpus_as_gpus
import often

process = cpus_as_gpus.process
assert often.process is process

if __name__ == "__main__":
    process.main()
