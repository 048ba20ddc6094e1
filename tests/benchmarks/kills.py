"""Kills workers at random moments, many times, and prints whether anything came out differently.

python -m tests.benchmarks.kills --kills 100
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.in_memory import folder_in_memory
from tests.training.kills import campaign


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints one JSON object."""
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("--kills", type=int, default=100)
    command.add_argument("--per-run", type=int, default=17, help="after so many a run may finish")
    command.add_argument("--steps", type=int, default=400, help="of each run")
    command.add_argument("--seed", type=int, default=0, help="of the moments")
    options = command.parse_args(arguments)
    began = time.monotonic()
    with TemporaryDirectory() as otherwise, folder_in_memory(Path(otherwise)) as folder:
        stories = list(
            campaign(
                folder, kills=options.kills, per_run=options.per_run, steps=options.steps, seed=options.seed
            )
        )
    print(
        json.dumps(
            {
                "kills": sum(story.kills for story in stories),
                "runs": len(stories),
                "kills while something was half-written": sum(story.while_saving for story in stories),
                "steps compared": len(stories) * (options.steps + 1),
                "steps replayed": sum(story.replayed for story in stories),
                "differences": [text for story in stories for text in story.differences],
                "seconds": round(time.monotonic() - began, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
