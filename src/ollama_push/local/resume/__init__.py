"""Resume points on disk: the store, and the files it is made of."""
