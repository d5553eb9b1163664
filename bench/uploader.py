"""One push straight to a registry, in a process of its own, so that what it costs can be told."""

# ruff: noqa: PLC0415 - each colour loads its own library only

from __future__ import annotations

import sys
from pathlib import Path


def main(colour: str, host: str, store: str, concurrency: str, ca_file: str = "") -> None:
    """Push the model ``bench`` of *store* to *host*, over TLS with a CA."""
    from ollama_push import NoResume

    name = f"{host}/b/c"
    plain_http = not ca_file
    if colour == "sync":
        from ollama_push import RegistryClient, Urllib3Transport

        with (
            Urllib3Transport(ca_file=ca_file or None) as sender,
            RegistryClient(
                store=store, plain_http=plain_http, concurrency=int(concurrency), resume=NoResume(), transport=sender
            ) as client,
        ):
            client.push(name, source="bench")
        return
    import asyncio

    from ollama_push import AiohttpTransport, AsyncRegistryClient

    async def push() -> None:
        async with (
            AiohttpTransport(ca_file=ca_file or None) as sender,
            AsyncRegistryClient(
                store=store, plain_http=plain_http, concurrency=int(concurrency), resume=NoResume(), transport=sender
            ) as client,
        ):
            await client.push(name, source="bench")

    asyncio.run(push())


def peak_kib() -> str:
    """Return this process's largest resident set since it was started; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines()) if status.exists() else {}
    return fields.get("VmHWM", "0 kB").split()[0]


if __name__ == "__main__":
    main(*sys.argv[1:])
    print(peak_kib())
