"""``POST /api/push`` as a server: every client of Ollama's API pushes through us, straight to the registry."""
