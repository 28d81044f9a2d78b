"""`output`: what a run gives, made when nothing of it is open any more."""

from ..draft import IN_OUTPUT, Draft
from ..references import check_template


def check(draft: Draft) -> None:
    check_template(draft, ["output"], draft.root.value["output"], None, IN_OUTPUT)
