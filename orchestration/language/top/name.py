"""`name`: what a definition is called, and where its page is."""

from ..draft import Draft

TAKEN = "new"  # its page would be hidden behind the one that makes a definition


def check(draft: Draft) -> None:
    if draft.root.value["name"] == TAKEN:
        message = "No definition can be called new, for /definitions/new/ is another page."
        draft.find(["name"], "slug", message, "Choose another name.")
