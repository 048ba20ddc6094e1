"""Works through several runs in one launch of torchrun, because starting Python takes longest.

The first argument is a JSON list, an object for each run: its folder, "shard"; "leave": the second process is
asked to leave at once; "in_32_bits": see below; "poison": a weight of the first one becomes infinite after
some steps. Each process writes what became of each run into a file beside the first run, named by the second
argument.
"""

import json
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch

from gpt2demo.errors import UserError
from gpt2demo.training import worker as worker_module
from gpt2demo.training.distributed import Processes, leave, processes
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.follower import Follower
from gpt2demo.training.worker import Worker


def write_randomly(model, tokenizer, prompt, seed):
    """Asks the model, and uses the global generator as a careless sampler might."""
    assert not model.training and model(torch.zeros(1, 2, dtype=torch.int64)).isfinite().all()
    return tokenizer.decode(torch.randint(tokenizer.vocab_size, (9,)).tolist())


@contextmanager
def in_32_bits():
    """Lets Muon reckon in 32 bits: what is left is the order of sums, and not what it rounds to 16."""
    bfloat16 = torch.Tensor.bfloat16
    torch.Tensor.bfloat16 = torch.Tensor.float
    try:
        yield
    finally:
        torch.Tensor.bfloat16 = bfloat16


def poison(model, tokenizer, prompt, seed):
    """Ruins the model of the first process alone, but for the first time it is asked."""
    poison.times = getattr(poison, "times", 0) + 1
    with torch.no_grad():
        model.ln_f.weight[0] = float("inf") if poison.times > 1 else 1.0
    return ""


def work(plot, everybody):
    folder = RunFolder(Path(plot["run"]))
    team = Processes(
        everybody.rank, everybody.size, everybody.here, torch.device("cpu"), plot.get("shard", False)
    )
    team.check(folder)
    if team.rank:
        follower = Follower(folder, team)
        if plot.get("leave"):
            follower.terminate()
        follower.shift()
        return
    for _ in Worker(folder, poison if plot.get("poison") else write_randomly, team).shift():
        pass


def main():
    worker_module.FLUSH_SECONDS = worker_module.CHECKPOINT_SHARE = 0.0  # nothing depends on the clock
    plots, came = json.loads(sys.argv[1]), []
    with processes() as everybody:
        for plot in plots:
            try:
                with in_32_bits() if plot.get("in_32_bits") else nullcontext():
                    work(plot, everybody)
                came.append("")
            except UserError as error:
                came.append(f"{type(error).__name__}: {error}")
    Path(plots[0]["run"]).with_name(f"{sys.argv[2]}-{everybody.rank}.json").write_text(json.dumps(came))
    leave()


if __name__ == "__main__":
    main()
