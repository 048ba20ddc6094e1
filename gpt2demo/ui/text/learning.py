"""The words of "How it learns, in detail" on the Train tab."""

LEARNING = "How it learns, in detail"
LEARNING_HINT = (
    "An empty field means: what suits the optimizer, as it was found by measurement. The sentence above "
    "Start and the command of the run say which numbers these are."
)
SUITS = "what suits it"
DECAY = "How the learning rate falls (schedule)"
DECAY_INFO = (
    "In a straight line or a half cosine to its end; not at all; or only in the last fifth "
    "(warmup-stable-decay), which leaves the end open for long. A rate that never falls keeps "
    "shaking what is nearly right."
)
DECAYS = (
    (SUITS, ""),
    ("line", "linear"),
    ("cosine", "cosine"),
    ("never", "constant"),
    ("at the end", "wsd"),
)
WARMUP = "Rise of the rate (warmup)"
WARMUP_INFO = "As a share of the steps, 0 to 0.5. None: the first steps may throw it off. Long: time is lost."
FINAL_LEARNING_RATE = "Where the rate ends"
FINAL_LEARNING_RATE_INFO = "As a share of the highest. 0: it comes to rest. 1: it never falls."
WEIGHT_DECAY = "Weight decay"
WEIGHT_DECAY_INFO = "Weights shrink by themselves: less learnt by heart. Too much, and nothing stays."
GRADIENT_CLIP = "Longest gradient (clipping)"
GRADIENT_CLIP_INFO = "0: any. 1: a step that would be too long is shortened. Very small: it hardly moves."
ACCUMULATION = "Batches per step (accumulation)"
ACCUMULATION_INFO = "Read one after the other: a large step in the memory of a small one. Many: few steps."
EVALUATE_EVERY = "Steps between two looks"
EVALUATE_EVERY_INFO = (
    "At the held-out text. Empty: twenty looks. Often: a fine curve, and less time to learn."
)
PATIENCE = "Patience (early stopping)"
PATIENCE_INFO = (
    "So many looks without a new best end the run. 0: never. Small: it may give up at a mere hiccup. The "
    "kept weights are the last ones; earlier ones are among the steps in the header."
)
TRY_RATES = "Try learning rates"
TRY_RATES_INFO = (
    "Which learning rate is right? A throwaway model of this shape reads your text for at most a hundred "
    "steps, while the rate grows from far too small to far too large (Smith 2017)."
)
RATES_LABEL = "Loss over learning rates"
USE_RATE = "Use it"
BEGINS = "Beginning …"
GOING = "Step {step} of {steps} …"
DISTURBS = " A run is training at the same time: the two slow each other down."
FOUND = (
    "{suggested:.2g} looks good: the first rate that makes most of the progress; now it is "
    "{present:.2g}. The loss is lowest at {lowest:.2g}{explodes}. This saw the first steps only: a long run "
    "is often best somewhat lower, and the recipe's rate was measured in whole runs."
)
EXPLODES = " and explodes from {rate:.2g} on"
NEVER_EXPLODES = " and never exploded"
