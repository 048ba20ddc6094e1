"""A folder in memory, for tests that would spend most of their time on opening files."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def folder_in_memory(otherwise: Path) -> Iterator[Path]:
    """Where a machine has none, it is the folder that is given."""
    memory = Path("/dev/shm")
    if not (memory.is_dir() and os.access(memory, os.W_OK)):
        yield otherwise
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="gpt2demo-test-") as folder:
        yield Path(folder)
