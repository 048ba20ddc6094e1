"""The words of the Train tab."""

# -- text ----------------------------------------------------------------------------------------------------
TEXT = "Text"
TEXT_HINT = "What the model learns from. It will write like this text and know nothing else."
SOURCE = "Take the text from"
SAMPLE_SOURCE, UPLOAD_SOURCE, PASTE_SOURCE = "Our samples", "My files", "Paste"
SAMPLE = "Sample"
UPLOAD = "Text files (.txt or .md)"
UPLOAD_HINT = "Up to 50 files and 12 MB together. 100 KB is a good start, a megabyte is better."
PASTE = "Your text"
PASTE_INFO = "At least a page; a small model begins to make words from about 50,000 characters."
PASTE_PLACEHOLDER = "Paste a text here …"
ENCODING = "Read it as …"
ENCODING_INFO = "The first lines below show whether it is the right one: no odd signs in the words."
GUESS = "our guess"
NO_TEXT = (
    "There is no text yet.",
    "The model needs a text to learn from.",
    "Upload, paste or pick one.",
)
REPORT_WAIT = "Reading the text …"
FIRST_LINES = "Its beginning, as the model sees it"
FIRST_LINES_HINT = "Each box is one token: · is a space, ↵ a new line."
NO_TOKENS = "The first tokens appear here."

# -- model ---------------------------------------------------------------------------------------------------
MODEL = "Model"
MODEL_HINT = "A GPT-2 with random numbers in it. Training turns them into knowledge."
BEGIN = "Begin with"
BEGIN_INFO = (
    "Random numbers: everything it will know comes from this text. The model in hand: it goes on from what "
    "it knows already (fine-tuning), and keeps its size and its tokens."
)
BEGINNINGS = (("Random numbers", "new"), ("The model in hand", "hand"))
FROM = "{text}, from {base}"
GOES_ON = "It goes on from {title}, and reads with its tokens."
TOKENIZER = "Cut the text into"
TOKENIZER_INFO = (
    "Characters: every sign is a token; simple, and right for short texts. Word pieces: frequent words "
    "become one token (BPE), as in OpenAI's GPT-2; better from about 200 KB. Words: as in textbooks, in "
    "small letters; rare words all become <unk>."
)
TOKENIZERS = (("Characters", "char"), ("Word pieces", "bpe"), ("Words", "word"))
VOCABULARY = "Most different tokens (vocabulary size)"
VOCABULARY_INFO = (
    "Few: short pieces, or only frequent words. Many: whole words, but rare ones are hardly learnt."
)
SIZE = "Size"
SIZES = {
    "pico": "Pico: 2 layers, quick to learn",
    "nano": "Nano: 4 layers, good on a laptop",
    "micro": "Micro: 4 layers, reads twice as far",
    "mini": "Mini: 6 wide layers, fluent but slow",
    "gpt2": "GPT-2: 12 layers, as OpenAI built it",
    "gpt2-medium": "GPT-2 medium: 24 layers",
    "gpt2-large": "GPT-2 large: 36 layers",
    "gpt2-xl": "GPT-2 XL: 48 layers",
}
SIZE_INFO = "More layers can learn more, and each step takes longer. Begin small."
CONTEXT = "How far it can look back (context, in tokens)"
CONTEXT_INFO = "Short: quick, but it forgets what a sentence was about. Long: it remembers, and is slower."
DROPOUT = "Forgetting on purpose (dropout)"
DROPOUT_INFO = "0: learns fastest. 0.2: learns a small text less by heart. 0.5: hardly learns anything."
PARAMETERS = "parameters"
MEMORY = "memory"
TOO_BIG = (
    "This is the size of OpenAI's models, made for machines with graphics cards. Here a single step takes "
    "minutes, and it would have to train for years to write well. To use the finished one, see Models."
)

# -- run -----------------------------------------------------------------------------------------------------
RUN = "Run"
RUN_HINT = "How long it may learn. You can watch, pause, and come back later: it goes on without you."
MINUTES = "Time to learn (minutes)"
MINUTES_INFO = (
    "A short time: it finds letters and first words. A long time: whole sentences. Below stands what it buys "
    "on this machine."
)
BUDGET = "Budget in"
BUDGETS = (("minutes", "minutes"), ("steps", "steps"), ("times through the text", "epochs"))
STEPS = "Steps"
STEPS_INFO = "In each step it reads one batch and changes all its numbers a little."
EPOCHS = "Times through the text (epochs)"
EPOCHS_INFO = "1: it sees every passage about once. Beyond 4 it begins to learn the text by heart."
OPTIMIZER = "How it changes its numbers (optimizer)"
OPTIMIZER_INFO = (
    "Muon: about three times as quick here. AdamW: what nearly everybody uses, GPT-2 too. Adam: as in "
    "2015, at a rate that never changes, as in many tutorials."
)
OPTIMIZERS = (("Muon", "muon"), ("AdamW", "adamw"), ("Adam", "adam"))
BATCH = "Passages per step (batch size)"
BATCH_INFO = "Few: many hasty steps. Many: fewer, calmer steps, and more memory."
BATCHES_LABEL = "How passages are cut out of the text (batches)"
BATCHES = (("anywhere (packed)", "packed"), ("by paragraph (padded)", "padded"))
BATCHES_INFO = (
    "Anywhere: documents end to end, as GPT-2 read them; nothing is wasted. By paragraph: each begins a row "
    "of its own and is filled up with padding, which counts for nothing."
)
RATE = "Highest learning rate"
RATE_INFO = "0: what suits optimizer and size. Too high and it breaks, too low and it hardly learns."
SEED = "Seed"
SEED_INFO = "The same seed on the same machine gives the same run, to the last digit."
PRECISION = "Bits of a number while it computes (precision)"
PRECISION_INFO = (
    "32: exact. bf16: half the room for what is in between, and quicker where the processor knows such "
    "numbers, as it does where this is chosen already; weights stay exact. fp16: the same for graphics cards."
)
PRECISIONS = (("32", "fp32"), ("16 (bf16)", "bf16"), ("16 (fp16)", "fp16"))
KNOBS_LABEL = "Less room, other numbers"
KNOBS_INFO = (
    "The first needs less than half of the memory, and a fifth more time. The second rounds while it learns, "
    "so that it loses less when its numbers become small ones (int8) in the end."
)
KNOBS = (
    ("compute twice, remember less (gradient checkpointing)", "gradient_checkpointing"),
    ("round as int8 will (quantisation-aware)", "quantization_aware"),
)
TITLE = "Name of this run"
TITLE_INFO = "Empty: the name of the text."
PROMPT = "Its samples begin with"
PROMPT_INFO = "While it learns it shows what it can write. Empty: it begins by itself."
DECAYS = {
    "linear": "falling in a line",
    "cosine": "falling like a cosine",
    "constant": "never falling",
    "wsd": "falling at the end",
}
TRYING = "Trying out how fast this machine is …"
TOO_SHORT = "This text is too short to train on: see what is said about it under Text."
START = "Start training"
PREPARING = "Preparing the text and the model …"

# -- live ----------------------------------------------------------------------------------------------------
LIVE = "Watch it learn"
LIVE_EMPTY = "No run yet: choose a text above and press Start training."
STARTER_NOTE = (
    "This is how the starter model was trained, before you came. Press Start training above to see your own."
)
ELSEWHERE_NOTE = (
    "This model was trained elsewhere: its curve stayed there. Generate and Attention show what it can."
)
OWN_NOTE = "You may close this page: the run goes on, and you find it here again."
WATCH_NOTE = "You are watching somebody else's run, live and read-only."
PAUSE, RESUME, STOP, LINK = "Pause", "Resume", "Stop and keep", "Copy link for others"
SLOWER = "Go on slower"
SLOWER_NOTE = "It goes on from before it went wrong, with a tenth of the learning rate."
PAUSING = "It saves everything after this step, then rests. Resume goes on exactly where it was."
RESUMING = "It goes on exactly where it was saved."
STOPPING = "It saves the model and measures it on the text it has not seen. Nothing is thrown away."
LINK_COPIED = "Whoever opens this link sees this run, live and read-only:"
FINISHED = "The model is kept. Let it write under Generate, and look at its heads under Attention."
STARTER_STAYS = (
    "This is the starter model.",
    "Only a run that you started can be paused, stopped or shared.",
    "Press Start training first.",
)
HEADS = "Its attention heads"
HEADS_HINT = (
    "Each small picture is one head reading the probe sentence; drawn anew whenever weights are kept."
)
PROBE = "Probe sentence"
PROBE_INFO = "Empty: how the training text begins. At most 48 tokens are read."
NO_HEADS = "The first picture comes with the first kept weights."
ATTENTION_CAVEAT = (
    "Strong colour: it looks there. Attention shows where a head reads, not why the model decides."
)
