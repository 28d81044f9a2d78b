class TestKitError(Exception):
    """A test asked for what cannot be."""

    __test__ = False  # for pytest, which would take it for a class of tests


class NoAnswerCanned(TestKitError):
    """An agent was called for which the test has no answer."""


class NothingAsked(TestKitError):
    """No question of that step is open."""


class NotPlayable(TestKitError):
    """The definition, its answers or the database are not fit for it."""


class EngineFailed(TestKitError):
    """The database refused what the engine wrote."""
