"""``python -m ollama_push.cli``: the same as the command ``ollama-push``."""

from ollama_push.cli import main

main()
