"""The words of "What if GPT-2 had …" on the Train tab."""

VARIANTS = "What if GPT-2 had …"
VARIANTS_HINT = (
    "Everything below is set as OpenAI set it. Change one thing, train again with the same seed and time, "
    "and lay the two curves over each other at the bottom of this page."
)
ARCHITECTURE = "Kind of model"
ARCHITECTURE_INFO = (
    "GPT-2, or what came before it with as many parameters: an LSTM, which reads token by token; a bigram "
    "table, which sees only one token."
)
ARCHITECTURES = (("GPT-2", "gpt2"), ("LSTM", "lstm"), ("Bigram table", "bigram"))
N_LAYER = "Blocks (layers)"
N_LAYER_INFO = "0: what the size has. One block cannot copy; two can."
N_HEAD = "Attention heads in each block"
N_HEAD_INFO = "0: what the size has. 1: the plain self-attention of the textbook."
N_EMBD = "Numbers per token (channels)"
N_EMBD_INFO = "0: what the size has. Twice as many make nearly four times the parameters."
N_INNER = "Width inside the MLP"
N_INNER_INFO = "0: four times the channels, as in GPT-2."
NORM = "LayerNorm"
NORM_INFO = (
    "Before each part (pre-LN), as in GPT-2: deep models learn at once. After it (post-LN): as in 2017."
)
NORMS = (("before each part (pre-LN)", "pre"), ("after it (post-LN)", "post"))
ACTIVATION = "Bend in the MLP (activation)"
ACTIVATION_INFO = "GELU by GPT-2's tanh formula, the exact GELU, or ReLU, which cuts at zero."
ACTIVATIONS = (("GELU (tanh)", "gelu_new"), ("GELU (exact)", "gelu"), ("ReLU", "relu"))
POSITIONS = "How it knows where a token stands"
POSITIONS_INFO = (
    "A learned table, as in GPT-2; fixed sines and cosines (2017); turned queries and keys (rotary, 2021); "
    "or nothing at all."
)
POSITIONS_CHOICES = (
    ("learned", "learned"),
    ("sinusoidal", "sinusoidal"),
    ("rotary", "rotary"),
    ("none", "none"),
)
ATTENTION = "Which earlier tokens it may read"
ATTENTION_INFO = (
    "All, as in GPT-2; only the last few (local); these and every so-many-th before (strided); or these and "
    "the first tokens (global + local, Longformer)."
)
ATTENTIONS = (
    ("all", "full"),
    ("local", "local"),
    ("strided", "strided"),
    ("global + local", "global_local"),
)
ATTENTION_WINDOW = "How far back, in tokens (window)"
ATTENTION_WINDOW_INFO = "Only for the last three. 1: it reads nothing but the token itself."
GLOBAL_TOKENS = "First tokens that all may read"
GLOBAL_TOKENS_INFO = "Only for global + local."
N_EXPERTS = "MLPs in each block (experts)"
N_EXPERTS_INFO = "1: a GPT-2. More: a mixture of experts; a router sends each token to some of them."
EXPERTS_PER_TOKEN = "Experts that work on one token"
EXPERTS_PER_TOKEN_INFO = "Fewer than there are: more parameters for hardly more work."
PARTS = "Parts"
PARTS_INFO = (
    "GPT-2 has biases, writes with the table that it reads with (tied), and adds nothing to its scores."
)
PARTS_CHOICES = (
    ("biases", "bias"),
    ("one table to read and write", "tie_word_embeddings"),
    ("a bias on the scores", "lm_head_bias"),
)
USUAL_PARTS = ("bias", "tie_word_embeddings")
INIT = "Random numbers to start from"
INIT_INFO = (
    "GPT-2's: small and equal, N(0, 0.02). Xavier's: by the shape of each matrix, as in many tutorials."
)
INITS = (("GPT-2's", "gpt2"), ("Xavier's", "xavier"))
