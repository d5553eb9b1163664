"""Tells who raised an exception: the work under way, or somebody who interrupted it.

A signal handler may raise wherever the program is: in a library that waits for a peer, in an adapter, in a flow. Time
limits work like that (``signal.alarm``, Celery, RQ). Such an exception is none about a peer, though a library may take
it for one: a ``TimeoutError`` of a handler looks like that of a socket.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

__all__ = ["frames_of", "raise_as_it_is", "raised_by_signal"]


def raised_by_signal(exc: BaseException) -> BaseException | None:
    """Return the exception of a signal handler: *exc*, or what it was made from; ``None`` when there is none.

    Call it where *exc* is caught. An exception that was being handled already when the work began is not meant.
    """
    chain, found = [exc], None
    for link in chain:
        frames = list(frames_of(link))
        # The innermost one, since urllib3 gives what it makes the traceback of what it made it from. One that begins in
        # the handler was caught there.
        if any(map(_is_handler, frames[1:])):
            found = link
        for inner in (link.__cause__, link.__context__):
            # Who makes one exception from another catches the latter in a frame that the former passes, too.
            caught = next(frames_of(inner), None) if inner is not None else None
            if caught in frames and all(inner is not known for known in chain):
                chain.append(inner)  # type: ignore[arg-type]  # only an exception has frames
    return found


def raise_as_it_is(exc: BaseException) -> NoReturn:
    """Raise *exc* from within an ``except`` clause, and keep the context that it has."""
    context = exc.__context__
    try:
        raise exc
    finally:
        exc.__context__ = context


def frames_of(exc: BaseException) -> Iterator[FrameType]:
    """Yield the frames that *exc* passed, from where it is now to where it was raised."""
    traceback = exc.__traceback__
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _is_handler(frame: FrameType) -> bool:
    """Say whether *frame* is that of a signal handler: it was given the frame that it interrupted, which called it.

    Source: Python documentation, ``signal.signal``. Handlers often restore the former one before they raise, so that
    the system no longer knows them.
    """
    interrupted = frame.f_back
    if interrupted is None:
        return False
    arguments = list[object]()
    for value in frame.f_locals.values():
        arguments += value if type(value) is tuple else (value,)
    return any(argument is interrupted for argument in arguments)
