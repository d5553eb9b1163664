"""The status page: its HTML, and the feed of changes to it."""
