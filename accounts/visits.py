"""Whether who was let in may still stay: a socket outlives the request that opened it."""

from collections.abc import Collection
from typing import NamedTuple

from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.models import Session
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from accounts.models import Member


class Visit(NamedTuple):
    """The key of a session of the site, and of the member that it came as."""

    session: str
    member: int


def over(visits: Collection[Visit]) -> set[Visit]:
    """Those whose session has ended or is another's now, whose password is another, or whose member was deactivated
    or removed. Two queries, however many."""
    if not visits:
        return set()
    sessions = Session.objects.filter(session_key__in={visit.session for visit in visits})
    known = {row.session_key: row.get_decoded() for row in sessions.filter(expire_date__gt=timezone.now())}
    members = Member.objects.active().filter(pk__in={visit.member for visit in visits})
    active = {member.pk: member for member in members.select_related("user")}
    return {visit for visit in visits if not _stays(known.get(visit.session, {}), active.get(visit.member))}


def _stays(session: dict[str, str], member: Member | None) -> bool:
    if member is None or session.get(SESSION_KEY) != str(member.user_id):
        return False
    return constant_time_compare(session.get(HASH_SESSION_KEY, ""), member.user.get_session_auth_hash())
