"""The pure core: no I/O, no clock, no randomness, no logging, no environment.

Everything here is decided from its arguments alone; the import contracts and a test that runs the core
under an audit hook hold it to that.
"""
