"""The bundled files are what their generators write."""

import gzip
import subprocess
import sys
from pathlib import Path

import pytest
from bundled import DATA, GENERATORS, ROOT, SPLITS


@pytest.mark.parametrize("name", GENERATORS)
def test_the_committed_files_are_what_the_generator_writes(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tools" / GENERATORS[name]), "--out", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    for split in SPLITS:
        file = f"{name}.{split}.jsonl.gz"
        committed, fresh = (DATA / file).read_bytes(), (tmp_path / file).read_bytes()
        # The text and the gzip header, not the compressed bytes: those may differ between versions of zlib.
        assert gzip.decompress(fresh) == gzip.decompress(committed)
        assert committed[:8] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "no file name and no time in the header"
        assert len(committed) < 100_000
