"""How a release is made: notes, builds and their checks, the bill of materials, recipes of other package managers.

Each module is a program, run by a target of the Makefile and by the release workflow. ``docs/release.md`` is the guide.
"""
