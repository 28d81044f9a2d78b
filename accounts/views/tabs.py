from typing import Any

from django.urls import reverse

from accounts.models import Member, Role


def settings_tabs(member: Member, here: str) -> list[dict[str, Any]]:
    """The parts of Settings that this member may see; `here` is the name of the page that is open."""
    places = [
        ("settings", "This device"),
        ("security", "Signing in"),
        ("tokens", "API tokens"),
        ("members", "Members"),
    ]
    if member.has_role(Role.ADMIN):
        places.append(("audit", "Audit trail"))
    return [{"label": label, "url": reverse(f"pages:{name}"), "is_here": name == here} for name, label in places]
