"""What is asked of a registry in which order: a push, its dry run, verification, a login."""
