"""Every check against every registry: what is seen is what is right, or a deviation that is written down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.registries.checks import CHECKS, Check
from tests.registries.deviations import expected
from tests.registries.subjects import SUBJECTS, Subject
from tests.registries.table import applies

pytestmark = [pytest.mark.registries, pytest.mark.slow, pytest.mark.process]


@pytest.mark.parametrize(
    ("subject", "check"),
    [
        pytest.param(subject, check, id=f"{subject.name}-{check.name}")
        for subject in SUBJECTS
        for check in CHECKS
        if applies(subject, check)
    ],
)
def test_what_is_seen_is_what_is_expected(
    subject: Subject, check: Check, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    if subject.program is None:
        pytest.skip(f"{subject.title} is not installed: {subject.how}")
    if check.tool is not None and check.tool[1] is None:
        pytest.skip(f"{check.tool[0]} is not installed: {check.how}")
    home = tmp_path / "home"
    home.mkdir()
    with subject.start(tmp_path / "registry") as running:
        seen = check.run(running, home)
    record_property("registry", subject.name)
    record_property("check", check.name)
    record_property("version", subject.read_version())
    record_property("seen", seen)
    assert seen == expected(subject.name, check)
