"""What a worker needs to read what its driver sends: the files of a user's own engines and scorers."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rsft import registry
from rsft.machines.homes import own_home


@dataclass(frozen=True, slots=True)
class Luggage:
    """An object as bytes, with the files of the user's own that it takes to read it, by module and file name. The
    registry names such a module after its file's content, so what a worker has already is the same."""

    content: bytes
    files: Mapping[str, tuple[str, bytes]]

    @classmethod
    def of(cls, thing: Any) -> Luggage:
        """Raises TypeError or pickle's errors for what can't be sent."""
        own = {
            name: Path(module.__file__ or "") for name, module in sys.modules.items() if name.startswith(registry.OWN)
        }
        files = {name: (file.name, file.read_bytes()) for name, file in own.items() if file.is_file()}
        return cls(pickle.dumps(thing), files)

    def open(self) -> Any:
        """The object, in whatever process this is."""
        for name, (file_name, source) in self.files.items():
            if name not in sys.modules:
                file = _place() / name / file_name
                file.parent.mkdir(exist_ok=True)
                file.write_bytes(source)
                registry.import_file(name, file)
        return pickle.loads(self.content)


@cache
def _place() -> Path:
    return own_home("rsft-own-").path
