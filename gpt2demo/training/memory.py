"""How much memory this machine has, as far as the system tells."""

import os
from pathlib import Path

SHARE = 0.5  # of the machine's memory, for one run
UNKNOWN = 8_000_000_000  # assumed where the system does not tell (Windows)
CONTAINER = Path("/sys/fs/cgroup/memory.max")  # what a container may use of it, on Linux


def memory_for_a_run(container: Path = CONTAINER) -> int:
    """How many bytes one training run may use: half of the memory of the machine, or of its container."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        total = UNKNOWN
    try:
        total = min(total, int(container.read_text()))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        pass
    return int(SHARE * total)
