"""What several machines share in Redis or Valkey. Needs the extra ``redis``.

Unfinished uploads and their locks, and what the replicas of a gateway know of each other.
"""

from __future__ import annotations

from ollama_push.fleet.pushes import RedisPushes
from ollama_push.fleet.resume import RedisResumeStore

__all__ = ["RedisPushes", "RedisResumeStore"]
