from django.core.management import call_command

from accounts.models import Member, Organization, User


def test_homes_go_back_and_forth_with_rows_in_the_tables(committed, house):
    elsewhere = Organization.objects.create(slug="other", name="Other")

    def add(name, organization=house):
        return Member.add(organization=organization, username=name, email="", roles=["viewer"], by=None)[0]

    add("ours")
    add("shared")
    add("shared", elsewhere)
    add("left")
    add("left", elsewhere).delete()
    User.objects.create_user(username="lone")
    add("lone")

    def homes():
        return dict(User.objects.values_list("username", "home__slug"))

    told = {"ours": "global", "shared": None, "left": None, "lone": None}
    assert homes() == told
    call_command("migrate", "accounts", "0001", verbosity=0)
    call_command("migrate", verbosity=0)  # of other apps, too: they went with it
    assert homes() == told
