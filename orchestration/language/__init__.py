"""Text to a checked plan: what a definition may say, its expressions, and every finding about it.

A key is a piece of `schema`, and a module of `steps` or `top` for what a schema cannot say and for what the engine
gets of it; `keys` says what such a module has. `documents` reads the text, `draft` is what the checks know of it,
`expressions` is CEL.
"""

from .definitions import Compiled, compile_definition
from .documents import Unreadable, read
from .draft import AgentFacts, DefinitionFacts
from .facts import facts_of
from .findings import Finding
from .schema import KEYS, SCHEMA

__all__ = [
    "KEYS",
    "SCHEMA",
    "AgentFacts",
    "Compiled",
    "DefinitionFacts",
    "Finding",
    "Unreadable",
    "compile_definition",
    "facts_of",
    "read",
]
