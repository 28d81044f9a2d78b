import contextlib
from typing import Any

import jsonschema_rs
from jsonschema import Draft202012Validator

from ui.schema_words import words_of_error


class Check:
    """A schema that is asked often; None lets everything pass.

    `jsonschema-rs` accepts sixty times as quickly; what it refuses, and what it cannot read, `jsonschema` judges, in
    words that are the same everywhere.
    """

    def __init__(self, schema: Any) -> None:
        self.schema = schema
        self._quick: jsonschema_rs.Draft202012Validator | None = None
        self._words: Draft202012Validator | None = None
        if schema is None:
            return
        self._words = Draft202012Validator(schema)
        with contextlib.suppress(ValueError):
            self._quick = jsonschema_rs.Draft202012Validator(schema, validate_formats=False, offline=True)

    def errors(self, content: Any, root: str) -> list[dict[str, str]]:
        """[{pointer, message}], at most 20; JSON Pointers below `root`."""
        if self._words is None or self._is_accepted(content):
            return []
        found = sorted(self._words.iter_errors(content), key=lambda error: [str(part) for part in error.absolute_path])
        return [
            {"pointer": pointer(root, error.absolute_path), "message": words_of_error(error)} for error in found[:20]
        ]

    def _is_accepted(self, content: Any) -> bool:
        with contextlib.suppress(ValueError):
            return self._quick is not None and self._quick.is_valid(content)
        return False


def pointer(root: str, path: Any) -> str:
    return root + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def listed(errors: list[dict[str, str]]) -> str:
    """The first of them, in one line."""
    return "; ".join(f"{error['pointer']}: {error['message']}" for error in errors[:5])
