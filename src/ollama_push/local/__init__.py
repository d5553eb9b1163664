"""This machine's disk: Ollama's model store, who we are to registries, uploads that are not finished."""
