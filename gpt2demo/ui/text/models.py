"""The words of the Models tab."""

TITLE = "Models"
HINT = (
    "Everything you can take in hand. What is in hand is what every other tab writes with and looks into; "
    "the header shows it too."
)

# groups of the list
STARTER_GROUP = "Comes with this page"
OWN_GROUP = "My runs"
OWN_HINT = "They belong to this browser: only here can they be changed. To see one elsewhere, use its link."
LINKED_GROUP = "Opened through a link"
EMPTY = (
    "You have not trained a model yet. Open Train, choose a text and press Start: "
    "the run appears here while it is still learning."
)
TO_TRAIN = "Go to Train"

STATES = {
    "waiting": "waits for its turn",
    "starting": "starting",
    "running": "training",
    "paused": "paused",
    "stopped": "stopped",
    "done": "finished",
    "failed": "failed",
    "interrupted": "interrupted",
}
BROUGHT = "brought in"
TOKENIZERS = {"char": "one token per character", "word": "one token per word", "bpe": "byte-pair tokens"}
VALIDATION = "validation"
TRAINING = "training"

LOSS_FINAL = "nats per token"
LOSS_BEST = "nats per token, best so far"
UNMEASURED = "–"

# what the list says by itself, in the browser
IN_THE_BROWSER = {
    "label": "Models that can be taken in hand",
    "take": "Take in hand",
    "in_hand": "In hand",
    "at_step": "at step",
    "no_weights": "No weights yet",
    "made": "made",
    "loss": "validation loss",
    "bits": "bits per character",
    "unknown": UNMEASURED,
    "share": "Share",
    "export": "Export",
    "command": "Command",
    "rename": "Rename",
    "delete": "Delete",
    "close": "Close",
    "copy": "Copy",
    "copied": "Copied",
    "not_copied": "Select it and press Ctrl+C",
    "share_label": "Link to this run",
    "share_hint": (
        "Whoever opens it sees this run, also while it learns, can use its model and take it home, "
        "with the text it learned from. They cannot change it."
    ),
    "packing": "Packing the model, its text and its diary into one file…",
    "packed": "The download begins by itself.",
    "again": "Download again",
    "unpacked": "Unpack it, and these three lines of Python load it, with the transformers library:",
    "not_packed": "The file could not be made; the message on the page says why.",
    "retry": "Try again",
    "only_here": "Only this program loads it: bring the zip in again on this tab, or with",
    "command_label": "Makes the same run again, in a folder that has the program and the text",
    "title_label": "New title",
    "title_hint": "At most 80 characters.",
    "save": "Save title",
    "cancel": "Cancel",
    "delete_what": "Delete this run for good?",
    "delete_lost": (
        "Lost will be its weights at every step that was kept, its text, its curve and everything it wrote, "
        "also for everybody who has its link. Nobody can bring them back. Export it first to keep it."
    ),
    "delete_yes": "Delete for good",
    "delete_no": "Keep it",
    "delete_busy": "This run is being trained. Only a run at rest can be deleted: stop it first, in Train.",
}

PYTHON = """from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained("{folder}")
model = AutoModelForCausalLM.from_pretrained("{folder}")"""

# refusals
NOT_READY = (
    "This run has no weights yet.",
    "A model can be taken in hand once the first are kept, within seconds of its start.",
    "Wait a moment, or choose another model.",
)
NOT_OWN = (
    "The starter came with this page.",
    "Only runs of your own can be renamed or deleted.",
    "Choose one of these, or train one.",
)
RENAMED = "The run is now called “{title}”."
DELETED = "The run “{title}” is deleted."

# about the model in hand
ABOUT = "About this model"
PARTS = "Where its parameters are"
PART = "part"
SHARE = "share"
PARTS_HINT = "A parameter is one learned number. The output uses the token embeddings again, at no cost."
ALL_PARTS = "together"
RECIPE = "How it was trained"
TEXT = "What it read"
COMMAND = "The command that makes it again"
COMMAND_HINT = "One click selects all of it."
ELSEWHERE_RECIPE = (
    "This model was trained elsewhere: its weights came without the story of how they were made."
)
ELSEWHERE_TEXT = "It is not known here what it read."
BUILT = "How it is built"

# what a model is made of; each part by the name of its field in GPT2Config
PARTS_NAMES = {
    "architecture": "kind of model",
    "norm": "LayerNorm",
    "activation": "bend in the MLP",
    "n_inner": "width in the MLP",
    "n_experts": "MLPs in each block",
    "positions": "places",
    "attention": "attention",
    "bias": "biases",
    "tie_word_embeddings": "output table",
    "lm_head_bias": "output bias",
    "init": "random numbers at first",
}
NOT_AS_GPT2 = "(not as GPT-2)"
NO_DIFFERENCE = "as GPT-2"
ARCHITECTURES = {"gpt2": "GPT-2", "lstm": "LSTM", "bigram": "bigram table"}
NORMS = {"pre": "pre-LN", "post": "post-LN"}
ACTIVATIONS = {"gelu_new": "GELU (tanh)", "gelu": "GELU (exact)", "relu": "ReLU"}
POSITIONS = {
    "learned": "learned table",
    "sinusoidal": "sines and cosines",
    "rotary": "rotary",
    "none": "no positions",
}
ATTENTIONS = {
    "full": "all earlier tokens",
    "local": "local, {window} tokens back",
    "strided": "strided, {window} tokens back and every {window}th",
    "global_local": "{window} tokens back and the first {first}",
}
BIAS = {True: "with biases", False: "no biases"}
TIED = {True: "tied to the token table", False: "output table of its own"}
HEAD_BIAS = "bias on the scores"
INITS = {"gpt2": "GPT-2's", "xavier": "Xavier's"}
WIDTH = "{width:,} wide MLP"
EXPERTS = "{all} experts, {some} per token"

# bringing a model
BRING = "Bring a model"
BRING_HINT = (
    "A run that was exported from a page like this one goes on where it stopped. Any other GPT-2 can write "
    "here and be looked into."
)
FROM_FILES = "From files"
FILES_LABEL = "Model files"
FILES_HINT = (
    "A zip file; or config.json, model.safetensors and the tokenizer, chosen together. Each is checked "
    "before anything of it is used. Pickles (.bin, .pt) are never opened: they can run programs."
)
BRING_BUTTON = "Bring it in"
CHECKING_FILES = "Every file is being checked, and every number in it …"
FROM_HUB = "From the Hub"
HUB_LABEL = "Model"
HUB_HINT = "Hugging Face's Hub. Nothing is asked or fetched before you press a button."
OTHER = "another"
OTHER_LABEL = "Its name, with its owner"
OTHER_PLACEHOLDER = "owner/name"
LOOK_UP = "How big is it?"
LOOKING_UP = "Asking the Hub …"
FETCH = "Fetch it"
STOP_FETCHING = "Stop"
OFFERED = "{repo}: {size}"
OFFERED_PARAMETERS = "{count}, fits into this machine"
OFFERED_UNKNOWN = "whether it fits is asked of its config.json, which comes first"
HERE_ALREADY = "It was fetched before and is here: nothing needs to come."
HERE_PARTLY = "{size} of it were fetched before and are here: the rest comes behind them."
FETCHING = "{done} of {size} are here"
TIME_LEFT = "about {time} left"
CHECKING = "All of it is here. Now every number in it is checked …"
STOPPED_FETCHING = "Stopped. What has arrived is kept: press Fetch it, and it goes on from there."
ARRIVED = "“{title}” is in hand and stands in the list among your runs."
CAN_GO_ON = "It is a run of this program: under Train it shows its curve, and can go on where it was stopped."
CANNOT_GO_ON = "It was trained elsewhere, so that it can be used and looked into, but not be trained further."

# sending a model to the Hub
PUSHING = {
    "push": "To the Hub",
    "push_label": "Send this model to your account on Hugging Face's Hub",
    "push_hint": (
        "Sent are the weights, the tokenizer and a card that says how it was made; the text, the diary and "
        "the checkpoints stay here."
    ),
    "push_name": "Name of the new model",
    "push_token": "Your access token",
    "push_token_hint": (
        "From huggingface.co/settings/tokens, with the right to write. It is used for this once: not kept, "
        "not written down, not put into your browser. Delete it there afterwards if you like."
    ),
    "push_private": "Private: only you see it",
    "push_overwrite": "Replace a model of this name, if you have one",
    "push_go": "Send it",
    "push_busy": "On its way …",
    "push_done": "It is there:",
    "push_fault": "It did not arrive; the message on the page says why.",
    "push_again": "Send again",
}
ONLY_HERE = "python -m gpt2demo import {folder}.zip --out {folder}"
RANDOM_NUMBERS = "random numbers"
BATCHES = {
    "packed": "{rows} windows of {length} tokens",
    "padded": "{rows} paragraphs, of at most {length} tokens",
}
PRECISIONS = {"fp32": "32 bits", "bf16": "bf16, weights in 32 bits", "fp16": "fp16, weights in 32 bits"}
CHECKPOINTING = "blocks computed twice (gradient checkpointing)"
ROUNDING = "as int8 will (quantisation-aware)"
OPTIMIZERS = {"adamw": "AdamW", "adam": "Adam", "muon": "Muon, and AdamW for the rest"}
FALLS = {
    "linear": "in a line to {end:.0%} of it",
    "cosine": "like a cosine to {end:.0%} of it",
    "wsd": "in the last fifth to {end:.0%} of it",
    "constant": "never",
}
