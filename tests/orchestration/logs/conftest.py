import pytest

from orchestration.engine.connection import rows
from orchestration.engine.lines import WRITE


@pytest.fixture
def write(begin):
    """A run with these lines, (level, text) each, of its step s; and others of its step t."""

    def write(*lines, others=0):
        run = begin("  s: {agent: echo}\n  t: {agent: echo}\n")
        count = len(lines)
        levels, texts = [level for level, _ in lines], [text for _, text in lines]
        if count:
            rows(WRITE, [[run.pk] * count, [1] * count, [1] * count, [0.0] * count, levels, texts])
        if others:
            rows(
                WRITE,
                [[run.pk] * others, [2] * others, [2] * others, [0.0] * others, ["info"] * others, ["t"] * others],
            )
        return run

    return write
