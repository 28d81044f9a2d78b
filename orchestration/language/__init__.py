"""Text to a checked plan: what a definition may say, its expressions, and every finding about it.

A key of a step stands in `schema.json`, in a file of `steps` for what a schema cannot say and for what the engine gets
of it, and in `plan`. `documents` reads the text, `draft` is what the checks know of it, `expressions` is CEL.
"""

from .definitions import Compiled, compile_definition
from .draft import AgentFacts
from .findings import Finding
from .shape import SCHEMA

__all__ = ["SCHEMA", "AgentFacts", "Compiled", "Finding", "compile_definition"]
