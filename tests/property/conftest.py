"""How hypothesis runs here: quick, without a deadline, and the same every time.

Chance is for ``python -m tests.fuzz``; a test that fails now and then is no test.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "ollama-push",
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ollama-push")
