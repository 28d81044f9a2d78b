"""Text to a checked plan: what a definition may say, its expressions, and every finding about it."""

from .definitions import SCHEMA, AgentFacts, Compiled, compile_definition
from .findings import Finding

__all__ = ["SCHEMA", "AgentFacts", "Compiled", "Finding", "compile_definition"]
