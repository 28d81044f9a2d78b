"""How the admin looks (django-unfold): our colours, and its places in groups."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.text import slugify

# Material Symbols, which come with the skin.
PLACES: dict[str, list[tuple[str, str, str]]] = {
    "Approvals": [("Requests", "approvals.request", "inbox"), ("Policies", "approvals.policy", "gavel")],
    "Work": [
        ("Runs", "orchestration.run", "play_arrow"),
        ("Deliverables", "orchestration.deliverable", "description"),
        ("Definitions", "orchestration.definition", "account_tree"),
        ("Workers", "orchestration.worker", "memory"),
    ],
    "Agents": [("Agents", "agents.agent", "smart_toy"), ("Versions", "agents.agentversion", "history")],
    "People": [
        ("Members", "accounts.member", "group"),
        ("Organizations", "accounts.organization", "apartment"),
        ("Users", "accounts.user", "person"),
        ("E-mail addresses", "account.emailaddress", "mail"),
        ("Second factors", "mfa.authenticator", "key"),
        ("Linked accounts", "socialaccount.socialaccount", "link"),
        ("Groups", "auth.group", "badge"),
        ("API tokens", "accounts.apitoken", "vpn_key"),
        ("Audit trail", "accounts.auditentry", "fact_check"),
    ],
}


def may_see(name: str) -> Callable[[HttpRequest], bool]:
    def may_see_it(request: HttpRequest) -> bool:
        return any(
            model._meta.label_lower == name and place.has_view_permission(request)
            for model, place in admin.site._registry.items()
        )

    return may_see_it


def place(title: str, name: str, icon: str) -> dict[str, Any]:
    link = reverse_lazy(f"admin:{name.replace('.', '_')}_changelist")
    return {"title": title, "icon": icon, "link": link, "permission": may_see(name)}


def index(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What the first page lists: the places of the sidebar in their groups, instead of apps by their own names."""
    found = {
        f"{app['app_label']}.{each['object_name']}".lower(): each
        for app in context["app_list"]
        for each in app["models"]
    }
    groups = []
    for title, entries in PLACES.items():
        models = [found[name] | {"name": words} for words, name, _ in entries if name in found]
        if models:
            groups.append(
                {"name": title, "app_label": slugify(title), "app_url": models[0]["admin_url"], "models": models}
            )
    return context | {"app_list": groups}


UNFOLD: dict[str, Any] = {
    "DASHBOARD_CALLBACK": "config.skin.index",
    "SITE_TITLE": "Countersign",
    "SITE_HEADER": "Countersign",
    "SITE_SUBHEADER": "For staff",
    "SITE_URL": "/",
    "SITE_ICON": lambda request: static("icon.svg"),
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("icon.svg")}],
    "STYLES": [lambda request: static("icons.css"), lambda request: static("admin.css")],
    "SHOW_HISTORY": False,
    "BORDER_RADIUS": "8px",
    "COLORS": {
        "primary": {
            "50": "#eef0ff",
            "100": "#e0e4ff",
            "200": "#c7ceff",
            "300": "#a5b0ff",
            "400": "#8fa0ff",
            "500": "#7080f5",
            "600": "#3b4fe0",
            "700": "#3040c0",
            "800": "#2a389b",
            "900": "#27347a",
            "950": "#181f4a",
        }
    },
    "SIDEBAR": {
        "show_search": True,
        "navigation": [
            {"title": title, "separator": True, "items": [place(*entry) for entry in entries]}
            for title, entries in PLACES.items()
        ],
    },
}
