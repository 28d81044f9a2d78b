"""For tests of definitions: see docs/testing.md."""

from agents.exceptions import Permanent, Temporary, TimedOut
from orchestration.testkit.canned import in_turn
from orchestration.testkit.play import Play

__all__ = ["Permanent", "Play", "Temporary", "TimedOut", "in_turn"]
