"""The words of the Embeddings tab."""

TITLE = "A map of the tokens"
INTRO = (
    "Inside the model every token is a list of {channels} numbers: its embedding. They start at random, and "
    "training moves tokens that are used alike closer together."
)
SEARCH_LABEL = "Find a token"
SEARCH_INFO = "Type a word or a piece of one, or click a point on the map."
SEARCH = "Find"
FOUND_LABEL = "Tokens that were found"
FOUND_NONE = "Nothing searched yet."
COLOUR_LABEL = "Colour"
COLOUR_INFO = "What the colour of a point tells; the place of a point stays the same."
COLOURS = {
    "kind": "kind of token",
    "frequency": "how often it occurs",
    "norm": "length of the vector",
    "drift": "moved since step 0",
}
THREE_LABEL = "Three dimensions"
THREE_INFO = "One more direction to tell tokens apart: turn the cloud with the mouse."
MAP_LABEL = "Map of the token embeddings"
MAP_EMPTY = "The map of a model appears here."
CAVEAT = (
    "The map flattens {channels} directions into {dimensions} (PCA) and shows {share} of all differences "
    "between tokens. Two points that touch here can be far apart in truth: trust the list of neighbours, "
    "which is measured in all {channels} directions."
)
SAME_SIDE = (
    "Seen from the side that was chosen for step {newest:,}, so that the steps can be compared: move through "
    "the steps at the top of the page and watch the tokens part."
)
UNUSED = "{count:,} of {all:,} tokens never occur in the text. They are not drawn; the search finds them."
PART = "{shown:,} of {all:,} tokens are drawn, evenly chosen; the search finds all of them."

NEIGHBOURS_TITLE = "Nearest neighbours of {token}"
NEIGHBOURS_HINT = (
    "1: used in just the same way; 0: nothing in common (cosine, after the average is taken off)."
)
NEIGHBOURS_CAPTION = "The nearest tokens and how alike they are (cosine)"
FACTS = {
    "id": "number in the vocabulary",
    "kind": "kind",
    "bytes": "exact bytes",
    "count": "times in the text",
    "norm": "length of its vector",
    "drift": "moved since step 0",
}
FACTS_LABEL = "About this token"

POSITIONS_TITLE = "A map of the places"
POSITIONS_HINT = (
    "Each place in the text (first, second, third …) has an embedding too, and it is added to the token's. "
    "Each cell compares two places: blue means alike, red means opposite."
)
POSITIONS_LOOK = "What to look for"
POSITIONS_WORDS = (
    "The diagonal is each place with itself: always 1.",
    "A blue band along the diagonal: places next to each other are alike. Nobody told the model which places "
    "are next to each other; it found out from text.",
    "Large blocks: the model tells early places from late ones, and not much more.",
    "Only noise: the model has not learned it yet. Step 0 looks so.",
    "A first row that differs from all others: the first place has a role of its own.",
)
NO_POSITIONS = "This model has no embeddings of places that could be drawn."
WHY_NO_POSITIONS = {
    "lstm": "It is an LSTM: it reads one token after the other, and so knows the order by itself.",
    "bigram": "It is a bigram table: it sees one token only, so that no token has a place.",
    "rotary": "It turns queries and keys by an angle that grows with the place (rotary): nothing is added.",
    "none": "It is not told where a token stands; only its mask lets it find out a little.",
}
CENTRED_LABEL = "Take off the average first"
CENTRED_INFO = "On: shows how places differ from each other. Off: also shows what all of them have in common."
POSITIONS_LABEL = "Likeness of positions"
