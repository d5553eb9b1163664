"""What pushes learn of a registry: lessons that grow, and where they are kept."""

from __future__ import annotations

from typing import Final

from tests.support.scripted_flow import ORIGIN, DictMemory

from ollama_push.core.registry.knowledge import LessonBook, Lessons, NoKnowledge, knowledge_of

WHOLE: Final = Lessons(whole_only=True)


def test_a_lesson_is_news_until_it_was_told() -> None:
    book = LessonBook(WHOLE)
    assert book.news() is None
    book.learn(whole_only=True)
    assert book.news() is None, "it was known before"
    book.learn(largest_part_bytes=5)
    assert book.news() == book.known == Lessons(5, whole_only=True)
    assert book.news() is None


def test_a_store_without_a_place_for_knowledge_keeps_none() -> None:
    knowledge = knowledge_of(DictMemory())
    knowledge.keep_lessons(ORIGIN, WHOLE)
    knowledge.keep_stored(ORIGIN, "me/base", ["sha256:a"])
    knowledge.forget_stored(ORIGIN, "me/base", "sha256:a")
    assert knowledge.lessons(ORIGIN) == Lessons()
    assert knowledge.repositories(ORIGIN, ["sha256:a"]) == {}


def test_a_store_with_a_place_for_knowledge_is_asked_for_it() -> None:
    class Keeping(DictMemory):
        knowledge = NoKnowledge()

    store = Keeping()
    assert knowledge_of(store) is store.knowledge
