"""Signing in, and what a session that has ended does."""

from playwright.sync_api import expect


def test_a_person_signs_in_and_out(window, sign_in, troubles):
    troubles.expected("favicon")
    page = window(None)
    sign_in(page, "viewer")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.locator("form[action='/accounts/logout/'] button:visible").first.click()
    expect(page.locator("input[name=login]")).to_be_visible()
