"""What an open page of a question asks and hears meanwhile."""

from tests.approvals.looks import UNTOUCHED, as_it_is, colleague, form_of, url, words


def test_the_check_says_what_is_wrong_so_far_and_keeps_nothing(figures, site):
    sent = form_of(figures, **{"edit:/rows/0/amount": "-3"})
    errors = site.post(f"{url(figures)}check/", sent).json()["errors"]
    assert [error["pointer"] for error in errors] == ["/rows/0/amount"]
    assert site.post(f"{url(figures)}check/", form_of(figures)).json() == {"errors": []}
    assert site.get(f"{url(figures)}check/").status_code == 405
    assert as_it_is(figures) == UNTOUCHED


def test_an_open_page_hears_that_someone_else_has_decided(figures, site, ada):
    part = f"{url(figures)}part/?open=1"
    assert "has decided" not in words(site.get(part))
    bob = colleague(ada)
    figures.decide(by=bob, choice="continue", digest=figures.digest)
    assert f"{bob.name} has decided meanwhile: Approve and continue" in words(site.get(part))
    assert 'hx-target="#what-next"' in site.get(f"{url(figures)}part/").content.decode()
