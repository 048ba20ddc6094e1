"""A class at once: thirty streams over HTTP from one server while a run trains on the same two cores.

    python -m tests.benchmarks.classroom [--visitors 30] [--seconds 300] [--tokens 200]

Starts the page as `python app.py` does, begins a training of `nano`, lets one visitor write for a while, and
then all at once: each asks /generate for a text, reads it as it streams, and asks for the next. Measured are
the time to the first tokens, the longest gap between two messages of a stream, tokens per second of everybody
together against those of the one, and errors. Other people's pages are HTTP clients here, which draw nothing.
The last line is one JSON object.
"""

import argparse
import asyncio
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
ALONE_SECONDS = 20.0
TEXT = ROOT / "assets" / "texts" / "little_stories.txt"


@dataclass
class Heard:
    """What one visitor saw of his texts."""

    first: list[float] = field(default_factory=list)  # seconds until the first tokens of a text
    gaps: list[float] = field(default_factory=list)  # the longest of each text
    tokens: int = 0
    texts: int = 0
    errors: list[str] = field(default_factory=list)


def main(arguments=None) -> None:
    options = _options(arguments)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        environment = os.environ | {"GRADIO_ANALYTICS_ENABLED": "False"}
        server = subprocess.Popen(
            [sys.executable, "app.py", "--runs", folder, "--port", str(port)], cwd=ROOT, env=environment
        )
        try:
            facts = asyncio.run(_lesson(f"http://127.0.0.1:{port}/gradio_api", options))
        finally:
            server.terminate()
            server.wait(30)
    print(json.dumps(facts))


def _options(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--visitors", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--tokens", type=int, default=200, help="of each text")
    parser.add_argument("--no-run", action="store_true", help="without a training beside it")
    return parser.parse_args(arguments)


async def _lesson(address, options):
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(timeout=120, limits=limits) as client:
        await _wait_for(client, address)
        run = None if options.no_run else await _begin_run(client, address, options)
        one = Heard()
        began = time.monotonic()
        await _visitor(client, address, one, began + ALONE_SECONDS, options.tokens, 0)
        alone = one.tokens / (time.monotonic() - began)
        print(f"one visitor: {alone:,.0f} tokens/s", flush=True)
        everybody = [Heard() for _ in range(options.visitors)]
        began = time.monotonic()
        until = began + options.seconds
        await asyncio.gather(
            *(_visitor(client, address, heard, until, options.tokens, n) for n, heard in enumerate(everybody))
        )
        together = sum(heard.tokens for heard in everybody) / (time.monotonic() - began)
        facts = _facts(alone, together, everybody)
        if run is not None:
            facts["steps_of_the_run"] = await _steps_of_run(client, address, run["run"])
            call = {"run": run["run"], "owner": run["owner"]}
            _ = [data async for data in _events(client, address, "stop_training", call)]
        return facts


def _facts(alone, together, everybody):
    first = [value for heard in everybody for value in heard.first]
    gaps = [value for heard in everybody for value in heard.gaps]
    return {
        "visitors": len(everybody),
        "texts": sum(heard.texts for heard in everybody),
        "tokens_per_second_alone": round(alone, 1),
        "tokens_per_second_together": round(together, 1),
        "ratio": round(together / alone, 2),
        "first_token_seconds": {"median": round(statistics.median(first), 3), "p95": _p95(first)},
        "longest_gap_seconds": {"median": round(statistics.median(gaps), 3), "most": round(max(gaps), 3)},
        "fewest_texts": min(heard.texts for heard in everybody),
        "errors": [error for heard in everybody for error in heard.errors][:10],
    }


def _p95(values):
    return round(sorted(values)[max(0, round(0.95 * len(values)) - 1)], 3)


async def _visitor(client, address, heard, until, tokens, number):
    """One text after the other, until the time is over."""
    while time.monotonic() < until:
        call = {
            "prompt": "Once upon a time",
            "model": "starter",
            "temperature": 0.9,
            "seed": number * 1_000 + heard.texts,
            "max_new_tokens": tokens,
        }
        began = last = time.monotonic()
        longest, written = 0.0, 0
        try:
            async for message in _events(client, address, "generate", call):
                now = time.monotonic()
                found = re.search(r"([\d,]+) tokens?", message[1])
                if written:
                    longest = max(longest, now - last)
                elif any(message[0]):
                    heard.first.append(now - began)
                if found:
                    written = int(found[1].replace(",", ""))
                last = now
            if written != tokens:
                heard.errors.append(f"{written} of {tokens} tokens")
        except (httpx.HTTPError, RuntimeError) as error:
            heard.errors.append(repr(error)[:200])
            await asyncio.sleep(0.5)
        heard.gaps.append(longest)
        heard.tokens += written
        heard.texts += 1


async def _events(client, address, endpoint, call):
    """What an endpoint answers, message by message, as any program gets it."""
    answer = await client.post(f"{address}/call/v2/{endpoint}", json=call)
    answer.raise_for_status()
    async with client.stream("GET", f"{address}/call/v2/{endpoint}/{answer.json()['event_id']}") as stream:
        kind = ""
        async for line in stream.aiter_lines():
            if line.startswith("event: "):
                kind = line[7:]
            elif line.startswith("data: "):
                if kind == "error":
                    raise RuntimeError(line[6:])
                if kind in ("generating", "complete"):
                    data = json.loads(line[6:])
                    if data:
                        yield data


async def _begin_run(client, address, options):
    """Begins a training that lasts longer than the lesson. → its id and its owner's token"""
    minutes = (options.seconds + 2 * ALONE_SECONDS) / 60 + 1
    call = {"text": TEXT.read_text(encoding="utf-8"), "minutes": minutes, "tokenizer": "char"}
    (answer,) = [data async for data in _events(client, address, "start_training", call)]
    while await _steps_of_run(client, address, answer[0]["run"]) < 20:
        await asyncio.sleep(0.5)
    return answer[0]


async def _steps_of_run(client, address, run):
    (answer,) = [
        data async for data in _events(client, address, "training_progress", {"run": run, "after_step": -1})
    ]
    steps = answer[0]["steps"]
    return steps[-1][0] if steps else 0


async def _wait_for(client, address):
    for _ in range(600):
        try:
            (await client.get(f"{address}/info")).raise_for_status()
            return
        except httpx.HTTPError:
            await asyncio.sleep(0.2)
    raise SystemExit("the page did not start")


if __name__ == "__main__":
    main()
