"""Passkeys, with an authenticator that the browser plays itself."""

import pytest
from allauth.mfa.models import Authenticator
from playwright.sync_api import expect

NAME = "builder"
AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@pytest.fixture
def without_passkeys(site):
    yield
    Authenticator.objects.filter(user__username=NAME).delete()


def test_a_passkey_is_made_and_signs_in_alone(window, sign_in, site, without_passkeys):
    page = window(None)
    sign_in(page, NAME)
    browser = page.context.new_cdp_session(page)
    browser.send("WebAuthn.enable")
    browser.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})

    page.goto("/settings/security/")
    page.get_by_role("link", name="Add a passkey").click()
    page.get_by_label("Your password").fill(site.passwords[NAME])
    page.get_by_role("button", name="It is me").click()
    page.get_by_role("button", name="Make the passkey").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()

    page.locator("form[action='/accounts/logout/'] button:visible").first.click()
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url(lambda url: "/accounts/" not in url)
    page.goto("/settings/security/")
    expect(page.get_by_text("signs you in alone")).to_be_visible()
