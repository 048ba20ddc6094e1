"""How much memory this machine has, as far as the system tells."""

import os

SHARE = 0.5  # of the machine's memory, for one run
UNKNOWN = 8_000_000_000  # assumed where the system does not tell (Windows)


def memory_for_a_run() -> int:
    """How many bytes one training run may use: half of the machine's memory."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        total = UNKNOWN
    return int(SHARE * total)
