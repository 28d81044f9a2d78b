"""Where people are signed in: when each browser was last seen, and its end."""

from datetime import datetime, timedelta

from allauth.account.adapter import get_adapter
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db.models import QuerySet, Subquery
from django.http import HttpRequest
from django.utils import timezone

MOST_LISTED = 50
SEEN_STEP = timedelta(minutes=1)


def seen_at(session_key: str | None) -> Subquery:
    """A column for the query that finds out who asks: it tells so without one of its own."""
    return Subquery(UserSession.objects.filter(session_key=session_key).values("last_seen_at"))


def saw(request: HttpRequest, seen_at: datetime | None) -> None:
    """Keep when this browser asked, and from where; at most once a minute."""
    now = timezone.now()
    if seen_at is not None and seen_at < now - SEEN_STEP:
        here = UserSession.objects.filter(session_key=request.session.session_key)
        here.update(last_seen_at=now, ip=get_adapter().get_client_ip(request))


def alive(user_id: int) -> "QuerySet[UserSession]":
    """The latest seen first."""
    keys = Session.objects.filter(expire_date__gt=timezone.now()).values("session_key")
    rows = UserSession.objects.filter(user_id=user_id, session_key__in=keys)
    return rows.order_by("-last_seen_at", "-pk")[:MOST_LISTED]


def end_all(user_id: int, *, but: str | None = None) -> None:
    """Sign out all browsers of a person; `but`: the key of the session that stays."""
    rows = UserSession.objects.filter(user_id=user_id).exclude(session_key=but or "")
    keys = list(rows.values_list("session_key", flat=True))
    Session.objects.filter(session_key__in=keys).delete()
    UserSession.objects.filter(session_key__in=keys).delete()
