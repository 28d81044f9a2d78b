"""What is wrong with an expression, in words of ours: the library's own speak of its parser."""


class ExpressionError(Exception):
    """An expression cannot be compiled or gives no JSON value. `offset` counts characters into the expression."""

    def __init__(self, message: str, *, offset: int = 0) -> None:
        super().__init__(message)
        self.offset = offset


def syntax_error(source: str, message: str) -> tuple[int, str]:
    """The library says `… ERROR: <input>:LINE:COLUMN: reason expecting {…}`, with a picture under it."""
    _, found, rest = message.partition("<input>:")
    line, _, rest = rest.partition(":")
    column, _, rest = rest.partition(":")
    if not found or not line.isdecimal() or not column.isdecimal():
        return 0, message.splitlines()[0]
    problem = (
        rest.strip()
        .splitlines()[0]
        .partition(" expecting ")[0]
        .replace("Syntax error: ", "")
        .replace("'<EOF>'", "its end")
    )
    before = source.split("\n")[: int(line) - 1]
    return min(sum(len(text) + 1 for text in before) + int(column) - 1, len(source)), f"syntax error: {problem}"


def reason(exc: Exception) -> str:
    if isinstance(exc, KeyError):
        return f"there is no field {exc.args[0]!r}" if exc.args else "a field is missing"
    text = str(exc).strip()
    if text.startswith("No such overload"):
        return "these values do not fit together (null or another type than expected; CEL does not mix int and double)"
    if text.startswith("Undefined variable or function"):
        return text.partition(". Check")[0]
    return text
