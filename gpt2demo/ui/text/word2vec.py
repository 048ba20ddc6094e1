"""The words of the word2vec panel on the Embeddings tab."""

TITLE = "What came before: word2vec"
HINT = (
    "Word2vec (2013) learns one vector for each token from nothing but which tokens stand near it: no "
    "attention, no order, no layers. The same text and the same tokens as the model in hand: compare "
    "the neighbours."
)
LEARN = "Learn these vectors now"
LEARN_INFO = "It takes about ten seconds, once for all who look at this text; then a map appears."
WAITING = "Another text is being learnt from; then it is this one's turn …"
GOING = "{done:,.1f} of {all:,.1f} million pairs of neighbours, loss {loss:.2f} …"
LEARNT = (
    "Learnt from {all:,.1f} million pairs of neighbours, {dimensions} numbers for each token, loss "
    "{loss:.2f}. The map (PCA) shows {share} of all differences."
)
MAP_LABEL = "Map of the word2vec vectors"
NEIGHBOURS_TITLE = "Nearest to {token}, by word2vec"
NEIGHBOURS_HINT = "1: stands among just the same tokens; 0: nothing in common (cosine, average taken off)."
NEIGHBOURS_CAPTION = "The nearest tokens by word2vec and how alike they are (cosine)"
NOT_IN_TEXT = "This token does not occur in the text: word2vec knows nothing about it."
