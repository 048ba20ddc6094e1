"""What stands behind each command of python -m gpt2demo; nobody else uses it."""
