"""Models made of GGUF files and Modelfiles, as ``ollama create`` makes them, without a copy of the weights."""
