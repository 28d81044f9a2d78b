from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from hypothesis import given
from hypothesis import strategies as st

from accounts.clock import database_clock
from approvals.digests import digest_of
from approvals.editing import edited, places_of
from approvals.exceptions import AlreadyEnded, InvalidAnswer, NotAllowed, StaleDigest
from approvals.models import Request
from tests.factories import MemberFactory, ask


def overdue(policy, **changes):
    return ask(policy, deadline_at=database_clock() - timedelta(seconds=1), deadline_choice="abort", **changes)


def nested(depth):
    """Lists in lists; not from JSON's text, which Python reads only so deep."""
    value = []
    for _ in range(depth - 1):
        value = [value]
    return value


def digest_with(payload):
    return digest_of(payload, ["continue"], "d" * 64, [])


def test_an_edited_answer_has_the_digest_of_its_edits(question, ada):
    row = question.decide(by=ada, choice="continue", digest=question.digest, edits={"/rows/0/amount": 12})
    assert row.status == "decided"
    assert row.answer == {"rows": [{"amount": 12}], "note": "n"}
    assert row.answer_digest not in (row.digest, None)
    assert row.decisions.get().edits == {"/rows/0/amount": 12}


def test_a_stale_page_cannot_decide_twice_and_leaves_evidence(question, ada):
    stale = Request.objects.get(pk=question.pk)
    question.decide(by=ada, choice="continue", digest=question.digest)
    with pytest.raises(AlreadyEnded):
        stale.decide(by=ada, choice="abort", digest=stale.digest, note="too late")
    assert list(question.decisions.values_list("choice", "late")) == [("continue", False), ("abort", True)]
    stale.refresh_from_db()
    assert stale.choice == "continue"


def test_refusals_come_in_their_order(question, ada):
    viewer = MemberFactory(organization=question.organization)
    with pytest.raises(NotAllowed):
        question.decide(by=viewer, choice=None, digest="other")
    with pytest.raises(StaleDigest):
        question.decide(by=ada, choice=None, digest="other")
    with pytest.raises(InvalidAnswer) as refused:
        question.decide(by=ada, choice="maybe", digest=question.digest)
    assert refused.value.errors[0]["pointer"] == "/choice"
    Request.withdraw([question.pk])
    with pytest.raises(AlreadyEnded):
        question.decide(by=ada, choice="continue", digest="other")


def test_a_stale_digest_is_refused_with_the_difference(question, ada, policy):
    question.decide(by=ada, choice="retry", digest=question.digest, note="again")
    newer = ask(policy, payload={"rows": [{"amount": 11}], "note": "n"})
    with pytest.raises(StaleDigest) as refused:
        newer.decide(by=ada, choice="continue", digest=question.digest)
    assert refused.value.extra() == {
        "expected": newer.digest,
        "payload": newer.payload,
        "difference": [{"pointer": "/rows/0/amount", "before": 10, "after": 11}],
    }


def test_the_requester_may_not_decide_even_as_admin(policy):
    policy.not_the_requester = True
    policy.save()
    admin = MemberFactory(organization=policy.organization, roles=["admin"])
    row = ask(policy, requested_by=admin)
    with pytest.raises(NotAllowed):
        row.decide(by=admin, choice="continue", digest=row.digest)
    assert not row.can_be_decided_by(admin, at=database_clock())


def test_after_the_deadline_an_answer_is_late_and_the_deadline_answers(policy, ada):
    row = overdue(policy)
    with pytest.raises(AlreadyEnded):
        row.decide(by=ada, choice="continue", digest=row.digest)
    assert Request.expire_due() == 1
    row.refresh_from_db()
    assert (row.status, row.choice, row.answer) == ("expired", "abort", row.payload)
    assert row.acknowledge() is True
    assert row.acknowledge() is False


@pytest.mark.parametrize("choice", ["retry", "abort"])
def test_a_note_is_needed(question, ada, choice):
    with pytest.raises(InvalidAnswer):
        question.decide(by=ada, choice=choice, digest=question.digest, note="  ")
    assert question.decisions.count() == 0


def test_one_subject_has_one_pending_request(question, policy):
    with pytest.raises(IntegrityError, match="one_pending_request"), transaction.atomic():
        ask(policy)


@pytest.mark.parametrize(
    "edits",
    [
        {"/note": "x"},
        {"/rows/1": 1},
        {"/rows/-": 1},
        {"/rows/00": 1},
        {"/rows/-1": 1},
        {"rows": []},
        {"/rows/~2": 1},
        {"/rows/0/new": 1},
        {"/rows/0/amount": "ten"},
        {"/rows": [], "/rows/0": 1},
        {"/rows/0/amount": 2**63},
        {"/rows": float("inf")},
        {"/rows": nested(100)},
        {"/rows/0/amount": "\x00"},
        {"": {}},
        [1],
    ],
)
def test_hostile_edits_change_nothing(question, ada, edits):
    with pytest.raises(InvalidAnswer):
        question.decide(by=ada, choice="continue", digest=question.digest, edits=edits)
    question.refresh_from_db()
    assert (question.status, question.answer) == ("pending", None)


@given(pointer=st.text(alphabet="/~01-ab²", max_size=8), value=st.integers(0, 9))
def test_an_edit_changes_one_place_or_is_refused(pointer, value):
    payload = {"a": [0, {"b": 1, "": 2}], "~": 3, "/": 4}
    try:
        answer = edited(payload, {pointer: value}, editable=["/a"], schema=None)
    except InvalidAnswer:
        return
    assert pointer.startswith("/a")
    assert {key: answer[key] for key in "~/"} == {"~": 3, "/": 4}
    assert payload == {"a": [0, {"b": 1, "": 2}], "~": 3, "/": 4}


PATTERNED = {
    "rows": [{"amount": 1, "unit": "EUR"}, {"amount": 2, "unit": "EUR"}],
    "by": {"a/b": {"n": 1}, "*": {"n": 2}},
}


@pytest.mark.parametrize(
    ("pattern", "places"),
    [
        ("/rows/*/amount", ["/rows/0/amount", "/rows/1/amount"]),
        ("/by/*/n", ["/by/a~1b/n", "/by/*/n"]),
        ("/*/1", ["/rows/1"]),
        ("/rows/1/*", ["/rows/1/amount", "/rows/1/unit"]),
        ("/rows/*/none", []),
        ("/rows/*/amount/*", []),
        ("", [""]),
    ],
)
def test_a_pattern_names_every_place_it_covers_and_no_other(pattern, places):
    assert list(places_of(PATTERNED, pattern)) == places
    for place in places:
        assert edited(PATTERNED, {place: 9}, editable=[pattern], schema=None) != PATTERNED


@pytest.mark.parametrize(
    "pointer", ["/rows/0/unit", "/rows/0", "/rows", "", "/rows/*/amount", "/by/a~1b/n", "/rows/2/amount"]
)
def test_a_place_that_no_pattern_covers_is_not_edited(pointer):
    with pytest.raises(InvalidAnswer):
        edited(PATTERNED, {pointer: 9}, editable=["/rows/*/amount"], schema=None)


LARGE = [
    2**53,
    2**53 + 1,
    1234567890123456789,
    10**16,
    10**22,
    1e16,
    1.5e22,
    1e23,
    1e300,
    2.0**53,
    1.7976931348623157e308,
]


@pytest.mark.parametrize("number", [sign * number for number in LARGE for sign in (1, -1)] + [2.0**53 - 1, 0.1, 5e-324])
def test_a_number_has_the_same_digest_before_and_after_it_is_stored(policy, ada, number):
    row = ask(policy, payload={"n": [number]}, editable=["/n"], payload_schema=None)
    stored = Request.objects.get(pk=row.pk)
    assert digest_with(stored.payload) == digest_with({"n": [number]})
    row.decide(by=ada, choice="continue", digest=row.digest)
    stored.refresh_from_db()
    assert stored.answer_digest == stored.digest


def test_large_numbers_that_differ_have_digests_that_differ():
    values = [2**53, 2**53 + 1, str(2**53), -(2**53), 2**53 - 1, [2**53]]
    assert len({digest_with(value) for value in values}) == len(values)
    assert digest_with(2**53) == digest_with(2.0**53)


def test_an_edit_to_a_large_number_has_the_digest_of_what_is_stored(policy, ada):
    row = ask(policy, payload_schema=None)
    row.decide(by=ada, choice="continue", digest=row.digest, edits={"/rows/0/amount": 1e16})
    row.refresh_from_db()
    parts = row.digest_parts
    assert row.answer["rows"] == [{"amount": 10**16}]
    assert row.answer_digest == digest_of(row.answer, row.choices, parts["definition"], parts["steps"])


def test_an_edit_may_not_nest_the_payload_too_deep(policy, ada):
    row = ask(policy, payload={"rows": [nested(50)]}, payload_schema=None)
    with pytest.raises(InvalidAnswer) as refused:
        row.decide(by=ada, choice="continue", digest=row.digest, edits={"/rows/0": nested(99)})
    assert refused.value.errors == [{"pointer": "", "message": "The payload would be nested deeper than 100."}]
    row.decide(by=ada, choice="continue", digest=row.digest, edits={"/rows/0": nested(98)})


def test_one_request_that_cannot_expire_holds_up_no_other(policy):
    broken, fine = overdue(policy), overdue(policy, subject="other")
    Request.objects.filter(pk=broken.pk).update(digest_parts={})
    assert Request.expire_due() == 1
    assert Request.expire_due() == 0
    broken.refresh_from_db()
    fine.refresh_from_db()
    assert (broken.status, fine.status) == ("pending", "expired")
