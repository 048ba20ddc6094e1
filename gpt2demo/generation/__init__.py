"""Writing with a model: from its scores to the next token, one frozen record per token."""
