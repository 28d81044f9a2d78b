"""CEL expressions and `${{ }}` templates over JSON, and the typing of JSON by its schema."""

from .conditions import Condition, bare, compile_condition
from .errors import ExpressionError
from .expression import Expression, Names, compile_expression
from .functions import FUNCTIONS
from .plain import as_text
from .reads import WORDS, Read
from .templates import Part, Template, compile_template, split
from .typing import Typing, TypingError

__all__ = [
    "FUNCTIONS",
    "WORDS",
    "Condition",
    "Expression",
    "ExpressionError",
    "Names",
    "Part",
    "Read",
    "Template",
    "Typing",
    "TypingError",
    "as_text",
    "bare",
    "compile_condition",
    "compile_expression",
    "compile_template",
    "split",
]
