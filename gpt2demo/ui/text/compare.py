"""The words of the comparison of runs, which stands on two tabs."""

COMPARE = "Compare runs"
COMPARE_HINT = (
    "Curves over each other: pre-LN against post-LN, AdamW against Muon, GPT-2 against an LSTM, on one text."
)
CHOICE = "Runs to lay over each other"
ACROSS = "Across"
ACROSSES = (("steps", "steps"), ("tokens read", "tokens"), ("time", "seconds"))
EMPTY = "Choose one or more runs above."
ALL_ELSEWHERE = "These models were trained elsewhere: there are no curves of them to draw."
CAVEAT = (
    "Loss per token can only be compared between runs with the same kind of tokens. Bits per character can "
    "always be compared: lower is better. The best loss is the lowest that was measured while it learned; "
    "bits per character are those of the model that was kept, over all of the held-out text."
)
HEAD = (
    ("run", ""),
    ("what it is", "Where it differs from OpenAI's GPT-2"),
    ("parameters", "How many numbers it learns"),
    ("steps", "Updates of all its numbers"),
    ("time", "Of training, pauses left out"),
    ("tokens per second", "On average over the whole run"),
    ("best validation loss", "In nats per token: the lowest that was measured while it learned"),
    ("bits per character", "Of the model that was kept"),
)
LOWEST = "lowest"
AT_STEP = "at step {step:,}"
TOKENS = {"char": "characters", "word": "words", "bpe": "word pieces"}
OPTIMIZERS = {"adamw": "AdamW", "adam": "Adam", "muon": "Muon"}
UNKNOWN = "–"
TOO_MANY = (
    "These are {count:,} runs.",
    "At most {most} fit into a picture.",
    "Choose fewer.",
)
