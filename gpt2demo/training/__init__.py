"""How a GPT-2 learns: the loop, its optimisers, and a worker that writes everything down in a run folder."""
