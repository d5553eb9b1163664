"""Resume points on disk: the store, and the format of its files."""
