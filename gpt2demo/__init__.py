"""Train a GPT-2 on your own text, write with it, and look inside it."""
