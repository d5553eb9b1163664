"""What a push through an Ollama server needs: its request, its state machine, the reading of its texts."""
