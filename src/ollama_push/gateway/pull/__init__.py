"""The pull side of the gateway: manifests and blobs of registries, for ``ollama pull`` and clients of registries."""
