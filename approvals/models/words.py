"""What someone answers, before it is known to make sense."""

from collections.abc import Sequence
from typing import Any

from accounts.json_values import unstorable
from approvals.exceptions import Finding

CONTINUE, RETRY, ABORT = "continue", "retry", "abort"
CHOICE_WORDS = {CONTINUE: "Approve and continue", RETRY: "Retry", ABORT: "Abort"}
# Short: a row that is told so keeps its height.
PAST_WORDS = {CONTINUE: "approved", RETRY: "sent back", ABORT: "aborted"}
LONGEST_CHOICE = 100
LONGEST_NOTE = 20_000


def words_of_choice(choice: str) -> str:
    """As people read it; a program reads the choice itself."""
    return CHOICE_WORDS.get(choice) or choice[:1].upper() + choice[1:]


def past_of_choice(choice: str) -> str:
    return PAST_WORDS.get(choice) or words_of_choice(choice)


class Words:
    """What someone answered, before it is known to make sense: every door may hand in anything."""

    def __init__(self, choice: Any, digest: Any, note: Any, edits: Any, door: str) -> None:
        self.choice = choice
        self.digest = digest
        self.note = note
        self.edits = edits
        self.door = door

    def findings(self) -> list[Finding]:
        """What cannot even be kept: wrong types, too long, not storable."""
        found = [
            ("/choice", _is_text(self.choice, LONGEST_CHOICE), "choice is needed, one of the request's choices."),
            ("/digest", _is_text(self.digest, 64), "digest is needed: the 64 hex digits of what you have seen."),
            ("/note", self.note == "" or _is_text(self.note, LONGEST_NOTE), f"A text of up to {LONGEST_NOTE} signs."),
            (
                "/edits",
                isinstance(self.edits, dict) and not unstorable(self.edits),
                f"An object of JSON Pointers and new values. {unstorable(self.edits)}".strip(),
            ),
        ]
        return [{"pointer": pointer, "message": message} for pointer, fine, message in found if not fine]

    def mismatches(self, choices: Sequence[str]) -> list[Finding]:
        """What can be kept, but is no answer to this request."""
        if self.choice not in choices:
            return [{"pointer": "/choice", "message": f"Choose one of {', '.join(choices)}."}]
        if self.choice not in (RETRY, ABORT):
            return []
        errors: list[Finding] = []
        if not self.note.strip():
            errors.append({"pointer": "/note", "message": f"A note is needed with {self.choice}: why?"})
        if self.edits:
            errors.append({"pointer": "/edits", "message": f"Edits have no effect with {self.choice}; leave them out."})
        return errors


def _is_text(value: Any, longest: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= longest and not unstorable(value)
