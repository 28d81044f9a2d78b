"""`input`: the JSON Schema of what a run is given."""

from .. import schemas
from ..draft import Draft


def check(draft: Draft) -> None:
    schema = draft.root.value["input"]
    for path, message in schemas.check(schema) if isinstance(schema, dict) else ():
        what = f"The input's JSON Schema: {message}."
        draft.find(["input", *path], "input-schema", what, "Write JSON Schema 2020-12.")
