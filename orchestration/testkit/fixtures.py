"""For pytest: `from orchestration.testkit.fixtures import play` in a conftest.py."""

from collections.abc import Callable

import pytest

from orchestration.testkit import Play


@pytest.fixture
def play(db: None) -> Callable[..., Play]:
    """`Play`, in a transaction that is rolled back."""
    return Play
