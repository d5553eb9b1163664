"""An exception of a signal handler is told from others, whatever was made of it."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable, Iterator

import pytest

from ollama_push.core.raisers import frames_of, raise_as_it_is, raised_by_signal

LIMIT = TimeoutError("the job's limit")
Handler = Callable[..., object]


def limit() -> None:
    raise LIMIT


class Job:
    """Handlers as programs write them."""

    def method(self, _number: int, _frame: object) -> None:
        limit()

    def __call__(self, *_arguments: object) -> None:
        limit()


def restoring(number: int, _frame: object) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise LIMIT


def with_more(_number: int, _frame: object, _more: int) -> None:
    raise LIMIT


HANDLERS: tuple[Handler, ...] = (
    restoring,
    Job().method,
    Job(),
    lambda *_: limit(),
    functools.partial(with_more, _more=1),
)


@pytest.fixture(params=HANDLERS, ids=["restoring", "method", "object", "lambda", "partial"])
def handler(request: pytest.FixtureRequest) -> Iterator[Handler]:
    before = signal.signal(signal.SIGUSR1, request.param)
    yield request.param
    signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def any_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, restoring)
    yield
    signal.signal(signal.SIGUSR1, before)


def interrupted() -> None:
    signal.raise_signal(signal.SIGUSR1)


def times_out() -> None:
    raise TimeoutError("timed out")


def wrapped(work: Callable[[], None]) -> None:
    """Do *work* as libraries do: each makes an error of its own from the one below."""
    try:
        try:
            work()
        except OSError as exc:
            raise KeyError("library") from exc
    except KeyError:
        raise ValueError("adapter")  # noqa: B904 - the context is meant


def test_what_a_handler_raises_is_told_whatever_the_handler_is(handler: Handler) -> None:
    assert callable(handler)
    with pytest.raises(TimeoutError) as caught:
        interrupted()
    assert raised_by_signal(caught.value) is LIMIT


@pytest.mark.usefixtures("any_handler")
def test_it_is_found_in_what_libraries_made_of_it() -> None:
    with pytest.raises(ValueError, match="adapter") as caught:
        wrapped(interrupted)
    assert raised_by_signal(caught.value) is LIMIT


@pytest.mark.usefixtures("any_handler")
def test_it_is_told_from_an_exception_that_has_its_traceback() -> None:
    """urllib3.util.util.reraise does this."""

    def borrow() -> None:
        try:
            interrupted()
        except TimeoutError as exc:
            raise KeyError("library").with_traceback(exc.__traceback__) from exc

    with pytest.raises(KeyError) as caught:
        borrow()
    assert raised_by_signal(caught.value) is LIMIT


def test_what_a_handler_made_its_exception_from_is_not_meant() -> None:
    def handle(_number: int, _frame: object) -> None:
        try:
            times_out()
        except TimeoutError as exc:
            raise LIMIT from exc

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        with pytest.raises(TimeoutError) as caught:
            interrupted()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert raised_by_signal(caught.value) is LIMIT
    LIMIT.__cause__ = None


def test_a_timeout_of_the_work_is_none_of_a_handler() -> None:
    with pytest.raises(ValueError, match="adapter") as caught:
        wrapped(times_out)
    assert raised_by_signal(caught.value) is None


@pytest.mark.usefixtures("any_handler")
def test_what_was_being_handled_when_the_work_began_is_not_meant() -> None:
    try:
        interrupted()
    except TimeoutError:
        with pytest.raises(ValueError, match="adapter") as caught:
            wrapped(times_out)
    assert raised_by_signal(caught.value) is None


def test_an_exception_through_a_generator_is_told_apart_too() -> None:
    def generator() -> Iterator[None]:
        times_out()
        yield

    with pytest.raises(TimeoutError) as caught:
        next(generator())
    assert raised_by_signal(caught.value) is None


def test_an_exception_that_was_never_raised_has_no_frames() -> None:
    exc = ValueError()
    exc.__cause__ = KeyError()
    assert list(frames_of(exc)) == []
    assert raised_by_signal(exc) is None


def test_a_circle_of_causes_ends() -> None:
    with pytest.raises(TimeoutError) as caught:
        times_out()
    caught.value.__cause__ = caught.value
    assert raised_by_signal(caught.value) is None


def test_an_exception_is_raised_with_the_context_that_it_has() -> None:
    error = ValueError("mine")
    error.__context__ = context = KeyError()

    def raise_within() -> None:
        try:
            times_out()
        except TimeoutError:
            raise_as_it_is(error)

    with pytest.raises(ValueError, match="mine") as caught:
        raise_within()
    assert caught.value is error
    assert error.__context__ is context
