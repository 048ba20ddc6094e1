"""Text in, batches out: uploads, an honest report about them, tokenizers, and what the model is fed."""
