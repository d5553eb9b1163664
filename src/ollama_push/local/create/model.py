"""GGUF files and Modelfiles as sources: what ``ollama create`` would make of them, with the weights where they are."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.registry.created import Weights, create_model
from ollama_push.core.registry.modelfile import Modelfile
from ollama_push.local.create.gguf_file import MAGIC, read_weights
from ollama_push.local.create.hashes import Hashed, HashMemory
from ollama_push.local.file_source import FileModel
from ollama_push.local.files import BlobFile, open_regular, problem_text, read_regular

__all__ = ["gguf_model", "modelfile_model"]

_MAX_MODELFILE_BYTES: Final = 4 * 1024 * 1024
_HALF_MADE: Final = (".safetensors", ".bin", ".pth", ".pt")


def _say_nothing(_path: Path, _done: int, _size: int) -> None:
    """Tell nobody how far a file is."""


def gguf_model(
    path: str | os.PathLike[str],
    *,
    hashes: HashMemory | None = None,
    hashed: Hashed = _say_nothing,
    cancelled: Callable[[], bool] = lambda: False,
) -> FileModel:
    """Return the model that ``ollama create`` makes of a GGUF file alone.

    Args:
        path: The file; it is hashed, and not copied.
        hashes: Remembers digests.
        hashed: Told how far the hash is.
        cancelled: Asked while a file is hashed; ``PushInterrupted`` is raised when it says yes.

    Raises:
        InvalidSetting: It cannot be pushed; the text says what to do instead.
    """
    weights, file = _read(Path(path), hashes or HashMemory(), hashed, cancelled)
    return _made(f"gguf:{os.fspath(path)}", Modelfile(("",)), [(weights, file)])


def modelfile_model(
    path: str | os.PathLike[str],
    *,
    hashes: HashMemory | None = None,
    hashed: Hashed = _say_nothing,
    cancelled: Callable[[], bool] = lambda: False,
) -> FileModel:
    """Return the model that ``ollama create -f`` makes of a Modelfile; see :func:`gguf_model`.

    FROM and ADAPTER name GGUF files, relative to the Modelfile.

    Raises:
        InvalidSetting: The Modelfile or one of its files cannot be used.
    """
    folder = Path(path).parent
    try:
        modelfile = Modelfile.parse(read_regular(Path(path).resolve(strict=True), _MAX_MODELFILE_BYTES))
    except (OSError, ValueError) as exc:
        raise InvalidSetting("source", os.fspath(path), problem_text(exc)) from exc
    memory = hashes or HashMemory()
    paths = [folder / Path(named).expanduser() for named in modelfile.models]
    for named, file in zip(modelfile.models, paths, strict=True):
        if not file.exists():
            problem = f"FROM {named}: there is no such file; a model that Ollama has is changed by `ollama create`"
            raise InvalidSetting("source", os.fspath(path), problem)
    if modelfile.adapter:
        paths.append(folder / Path(modelfile.adapter).expanduser())
    return _made(f"modelfile:{os.fspath(path)}", modelfile, [_read(each, memory, hashed, cancelled) for each in paths])


def _read(path: Path, hashes: HashMemory, hashed: Hashed, cancelled: Callable[[], bool]) -> tuple[Weights, BlobFile]:
    problem = _unusable(path)
    if problem is not None:
        raise InvalidSetting("source", str(path), problem)
    try:
        digest, file = hashes.hash(path, hashed=hashed, cancelled=cancelled)
    except (OSError, ValueError) as exc:
        raise InvalidSetting("source", str(path), problem_text(exc)) from exc
    return read_weights(file.path, digest, file.size), file


def _unusable(path: Path) -> str | None:
    """Say why *path* cannot be weights, before it is hashed; ``None`` when it can."""
    convert = "convert it to one GGUF file with llama.cpp's `convert_hf_to_gguf.py`, or use `ollama create`"
    if path.is_dir():
        return f"this is a folder: name a GGUF file; of safetensors, {convert}"
    try:
        with open(open_regular(path.resolve(strict=True)), "rb") as file:  # noqa: PTH123 - a descriptor
            magic = file.read(len(MAGIC))
    except (OSError, ValueError) as exc:
        return problem_text(exc)
    if magic == MAGIC:
        return None
    return f"this is no GGUF file: {convert}" if path.suffix in _HALF_MADE else "this is no GGUF file"


def _made(label: str, modelfile: Modelfile, read: list[tuple[Weights, BlobFile]]) -> FileModel:
    created = create_model(modelfile, [weights for weights, _file in read])
    files: dict[str, BlobFile | bytes] = {**created.blobs, **{weights.digest: file for weights, file in read}}
    return FileModel(label, created.manifest, files)
