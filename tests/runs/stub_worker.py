"""A worker that trains nothing: it holds the real lock, writes the diary, and starts in a moment (no torch).

python stub_worker.py FOLDER [option=value …]
steps=N pace=seconds       how far it goes and how fast
ignore=1                   it does not read what is wanted; ignore=2: nor does it leave on SIGTERM
crash=N                    it dies at its N-th step of this life; crash=0: before it writes a word
linger=seconds             how long it takes to exit after having written how it ended
slow_start=seconds         how long it takes to begin; it forgets then what was wanted meanwhile
stuck=N                    its N-th step of its first life never ends, though the process runs
"""

import json
import os
import signal
import sqlite3
import sys
import time
from pathlib import Path

from gpt2demo.training.heartbeat import Heartbeat
from gpt2demo.training.lock import hold

folder = Path(sys.argv[1])
options = {
    "steps": 20,
    "pace": 0.01,
    "ignore": 0,
    "crash": -1,
    "linger": 0,
    "slow_start": 0,
    "stuck": -1,
} | {name: float(value) for name, value in (word.split("=") for word in sys.argv[2:])}


db = sqlite3.connect(folder / "run.sqlite", timeout=10, isolation_level=None)
db.execute("PRAGMA synchronous=OFF")


def run(sql: str, values: tuple = ()) -> list:
    return db.execute(sql, values).fetchall()


def tell(**facts: object) -> None:
    for name, value in facts.items():
        run("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))


def read(name: str) -> object:
    rows = run("SELECT value FROM facts WHERE name = ?", (name,))
    return json.loads(rows[0][0]) if rows else None


def work(heartbeat: Heartbeat) -> None:
    tell(state="starting", wanted="run", message="")
    step = int(read("checkpoint_step") or 0)
    first = not run("SELECT 1 FROM events WHERE text LIKE 'life%'")
    run(
        "INSERT INTO events (time, text) VALUES (?, ?)", (time.time(), f"life {os.getpid()} from step {step}")
    )
    tell(state="running", steps_planned=int(options["steps"]))
    life = 0
    while step < options["steps"]:
        if life == options["crash"]:
            os.kill(os.getpid(), signal.SIGKILL)
        if life == options["stuck"] and first:
            time.sleep(1_000)
        time.sleep(options["pace"])
        heartbeat.step()
        step, life = step + 1, life + 1
        row = (step, 10 * step, 2.0, None, None, 0.1, 1.0, 100.0, 0.1 * step)
        run("INSERT OR IGNORE INTO steps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        if step % 10 == 0:
            tell(checkpoint_step=step)
        wanted = "run" if options["ignore"] else read("wanted")
        if wanted != "run":
            tell(checkpoint_step=step, message="")
            tell(state={"pause": "paused", "stop": "stopped"}[wanted], message="as you wished")
            return
    tell(checkpoint_step=step, state="done", message="finished")


if options["ignore"] == 2:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if options["crash"] == 0:
    print("Traceback: …\nMemoryError: at /secret/place/file.py", file=sys.stderr)
    sys.exit(1)
time.sleep(options["slow_start"])
with (
    hold(folder / "worker.lock"),
    Heartbeat(folder / "worker.beat", every=0.1, step_seconds=0.5) as heartbeat,
):
    work(heartbeat)
db.close()
time.sleep(options["linger"])
