"""What several machines share in Redis or Valkey: unfinished uploads and their locks. Needs the extra ``redis``."""

from __future__ import annotations

from ollama_push.fleet.resume import RedisResumeStore

__all__ = ["RedisResumeStore"]
