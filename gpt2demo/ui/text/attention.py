"""The words of the Attention tab."""

TITLE = "Where does each token look?"
INTRO = (
    "Before the model guesses the next token, every token looks back at the ones before it. It does so "
    "through several heads at once, each with its own habit of looking."
)
NOT_AN_EXPLANATION = (
    "Attention is not an explanation: it shows where a head looks, not why the model says what it says."
)
PROBE_LABEL = "Text to look at"
PROBE_INFO = "Names that come twice are telling: watch how the second one looks back at the first."
LOOK = "Look"
TRY = "Or try:"
EXAMPLE_NAME = "A made-up name"
EXAMPLE_OWN = "From its own text"
EXAMPLE_TWICE = "Its own words, twice"
# Each ends with a made-up name that it has said before; the last token is left for the model to guess.
NAME_TEXTS = (
    "Once there was a fox named Zorimel. One day Zorimel met a goat. The goat looked at Zorimel",
    "A fox named Zorimel met a goat. The goat liked Zorimel",
    "Zorimel met Zorimel",
)
TOKENS_LABEL = "The text in tokens"
TOKENS_HINT = "The tokens as the model reads them; · is a space. Click one to see what it expects after it."
OFFER = "Look at the first {tokens} tokens"
SHOWN_INSTEAD = "Below is an example of this model's own instead. Your text is still in the box."
SHOWN_PART = "Below are its first {tokens} tokens."

NEXT_TITLE = "What comes next?"
NEXT_AFTER = "After "
NEXT_EXPECTED = " (token {index}) this model expects:"
NEXT_OTHERS = "all {count:,} others"
NEXT_CAPTION = "The likeliest next tokens and their probabilities"

GRID_TITLE = "All heads"
GRID_HINT = (
    "Each small square is one head. Layer 0 reads first, the last layer just before the guess. In a square, "
    "each row is a token that looks, each column a token that is looked at; the stronger the colour, the "
    "more. Click a square to see it large, then point at its cells."
)
GRID_LABEL = "Attention heads"
GRID_EMPTY = "Write a text above and press Look."
NO_ATTENTION = {
    "lstm": (
        "This model is an LSTM. It reads token by token and keeps what it remembers in one state, so there "
        "is no attention to draw; what it expects next stands here all the same."
    ),
    "bigram": (
        "This model is a bigram table. It sees one token only and looks back at none, so there is no "
        "attention to draw; what it expects next stands here all the same."
    ),
}
GO_TO = "Show me the best at:"
KINDS = {
    "previous": "previous token",
    "induction": "induction",
    "duplicate": "duplicate token",
    "first": "first token",
}
KIND_MEANINGS = {
    "previous": "looks at the token just before. The simplest habit, and one half of copying.",
    "induction": (
        "finds where the same token stood before, and looks at what came after it. So a model copies a "
        "name that it has never seen in training."
    ),
    "duplicate": "looks at earlier copies of the same token.",
    "first": "rests on the first token, which mostly means: nothing to do here.",
}
SCORES_TITLE = "What the heads are good at"
SCORES_HINT = (
    "Measured at step {step:,}, on {period} random tokens written twice, {sequences} times over: nothing "
    "learned about language helps there, only the repetition. 1 is a perfect head of its kind."
)
SCORES_NONE = (
    "At this step no head has one of these habits. They grow in training, often within a few hundred steps, "
    "and not in every model."
)
SCORES_PART = "The {shown} strongest of {all} heads."
MEANINGS_TITLE = "What the names mean"
MEANING_FROM = "Called so from {threshold:g} on."
LAYER, HEAD, CALLED = "Layer", "Head", "It is called"
SCORES_CAPTION = "Heads and their scores, the strongest first"

ROLLOUT_TITLE = "All layers together (attention rollout)"
ROLLOUT_HINT = (
    "If attention were the only road: how much of each token (column) has reached each place (row) when all "
    "layers have looked. Heads are averaged, and half of every step is the token keeping itself. It leaves "
    "out what the rest of the model does."
)
ROLLOUT_LABEL = "Attention rollout"
