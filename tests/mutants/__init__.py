"""Mutation testing of the core: what a test would not notice if it were wrong."""
