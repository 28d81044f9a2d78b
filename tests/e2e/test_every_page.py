"""What holds for each page there is, in a browser. Names come from the URL configuration: new pages count."""

import gzip
from collections import Counter, defaultdict

import pytest
from django.urls import get_resolver

from accounts.models import Organization
from simulators.pages import Rows, addresses, is_for_people, named

MOST_JS, MOST_CSS, EDITOR = 60_000, 25_000, 150_000  # bytes, compressed
# What this admin has not set up, and the page of an error: tests of their own open them.
ELSEWHERE = {
    "mfa_deactivate_totp",
    "mfa_download_recovery_codes",
    "mfa_view_recovery_codes",
    "socialaccount_login_error",
}
NAMES = [
    name
    for name, arguments in named(get_resolver())
    if (name.startswith("pages:") or (not arguments and is_for_people(name))) and name not in ELSEWHERE
]


@pytest.fixture(scope="session")
def furnished(site, client, finish_one, tried):
    """An organization in which something has happened: {name: address} for its admin."""
    organization = Organization.objects.get(slug="global")
    client("admin").post("tokens/", {"name": "for a script"})
    finish_one()
    tried("summarizer", {"text": "Revenue rose by 4 %."})
    pinned = {"action": "pin", "filter": {"definition": "kpi-tracking"}, "reason": "for the audit"}
    digest = client("admin").post("runs/actions/", pinned)["digest"]
    client("admin").post("runs/actions/", {**pinned, "digest": digest})
    return addresses(Rows.of(organization, organization.members.get(user__username="admin")))


@pytest.fixture(scope="session")
def is_page(site):
    """Whether an address answers with a page: not with a part of one, a file, another address, or to POST alone."""

    def is_page(page, address):
        answer = page.request.get(address, max_redirects=0)
        assert answer.status in {200, 302, 405}, (address, answer.status)
        return answer.status == 200 and answer.text().lstrip().lower().startswith("<!doctype html")

    return is_page


@pytest.mark.parametrize("name", NAMES)
def test_a_page_suits_everybody_and_weighs_little(name, furnished, window, axe, is_page, troubles):
    page = window("admin")
    address = furnished.get(name)
    if address is None or not is_page(page, address):
        return
    weights = Counter()
    page.on("requestfinished", lambda request: weigh(request, weights))
    page.goto(address)
    found = defaultdict(list)
    for width in (1360, 390):
        page.set_viewport_size({"width": width, "height": 850})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            for words in axe(page):
                found[words].append(f"{width} {scheme}")
    page.set_viewport_size({"width": 320, "height": 700})
    if (wide := page.evaluate("document.documentElement.scrollWidth")) > 320:
        found[f"scrolls sideways at 320: {wide}"] = widest(page)
    if not name.startswith("admin:"):
        for kind, most in (
            ("stylesheet", MOST_CSS),
            ("script", MOST_JS + EDITOR * page.locator("[data-editor]").count()),
        ):
            if weights[kind] > most:
                found[f"{kind}: {weights[kind]} bytes"].append(f"at most {most}")
        if page.locator("h1").count() != 1:
            found[f"{page.locator('h1').count()} h1"].append("one is right")
    assert not found, "\n".join(f"{what} ({', '.join(where)})" for what, where in found.items())


def widest(page):
    """Selectors of what reaches beyond the right edge."""
    return page.evaluate(
        """() => [...document.querySelectorAll('main *, header *')].filter(e => e.getBoundingClientRect().right > 321)
            .slice(0, 5).map(e => e.tagName + '.' + e.className)"""
    )


def weigh(request, weights):
    if request.resource_type in ("script", "stylesheet"):
        weights[request.resource_type] += len(gzip.compress(request.response().body()))
