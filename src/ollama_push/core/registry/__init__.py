"""The distribution protocol, as pure as the rest of the core: what to ask a registry, and what responses mean.

A *flow* is a generator: it yields an effect and is sent what came of it (:mod:`.effects`). Both clients run the
same flows. Bodies are spans of blobs, never bytes: reading files is the driver's work.

Source: opencontainers/distribution-spec v1.1.1; distribution's token specification; what registries were
observed to do is cited where it matters.
"""
