"""Ready-made hooks: logging, metrics, tracing, progress. Each module needs only what its name says."""
