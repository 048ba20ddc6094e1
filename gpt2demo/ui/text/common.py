"""The words that every tab uses."""

NAME = "gpt2demo"
SUBTITLE = "Train a real GPT-2 on your own text, write with it, and look inside it."
MODEL_LABEL = "Model in hand"
STEP_LABEL = "As it was at step"
MODE_LABEL = "Show"
SIMPLE = "Simple"
FULL = "Full"
STARTER = "Starter"
NOT_FOR_THIS_CONTROL = (
    "A control was sent a value that it does not offer.",
    "Each takes one of its choices, or a number of its range.",
    "Choose again, or reload the page.",
)
LINK_UNKNOWN = "The run of this link is not here, or not any more. You see another model instead."
ELSEWHERE = "trained elsewhere"
TRAINING_MARK = "● training"
