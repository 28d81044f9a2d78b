from datetime import timedelta

import pytest

from accounts.exceptions import AlreadyRevoked, TokenRefused, UnknownScope
from accounts.models import ApiToken, AuditEntry, expiry_in
from accounts.seeding import seed_people
from tests.factories import MemberFactory

pytestmark = pytest.mark.django_db


def issue(member, **words):
    return ApiToken.issue(**{"member": member, "name": "ci", "scopes": [], "expires_at": None, "by": member} | words)


def test_a_token_is_kept_as_a_digest_and_told_in_the_trail():
    member = MemberFactory()
    token, plaintext = issue(member)
    assert plaintext.startswith("cs_")
    assert plaintext not in str(ApiToken.objects.filter(pk=token.pk).values().get())
    assert ApiToken.authenticate(plaintext).member == member
    assert list(AuditEntry.objects.values_list("action", "target")) == [("token.issue", token.public_id)]


def test_expired_revoked_and_unknown_tokens_are_refused():
    member = MemberFactory()
    _, expired = issue(member, expires_at=expiry_in(timedelta(seconds=-1)))
    row, revoked = issue(member)
    row.revoke(by=member)
    with pytest.raises(AlreadyRevoked):
        row.revoke(by=member)
    for plaintext, why in ((expired, "expired"), (revoked, "revoked"), ("cs_no", "unknown")):
        with pytest.raises(TokenRefused, match=why):
            ApiToken.authenticate(plaintext)


def test_an_unknown_scope_is_refused():
    with pytest.raises(UnknownScope):
        issue(MemberFactory(), scopes=["everything"])


def test_the_use_of_a_token_is_noted_once_a_minute(django_assert_num_queries):
    _, plaintext = issue(MemberFactory())
    with django_assert_num_queries(2):
        ApiToken.authenticate(plaintext)
    with django_assert_num_queries(1):
        ApiToken.authenticate(plaintext)


def test_people_are_seeded_again_without_harm(tmp_path):
    first = seed_people(tmp_path)
    assert seed_people(tmp_path) == first
    assert (tmp_path / "demo-people.json").stat().st_mode & 0o777 == 0o600
    assert set(first) == {"viewer", "operator", "approver", "builder", "admin", "nora"}
