"""The people of the demo."""

import json
import os
import secrets
from pathlib import Path

from django.db import transaction

from accounts.models import Member, Organization, Role, User

PEOPLE = {role.value: ("global", [role.value]) for role in Role} | {
    "nora": ("northwind", [Role.ADMIN.value, Role.OPERATOR.value, Role.APPROVER.value])
}
ORGANIZATIONS = {"global": "Global", "northwind": "Northwind"}
STAFF = ("admin", "approver")


@transaction.atomic
def seed_people(data_dir: Path) -> dict[str, str]:
    """Organizations and demo members; {name: password}. Again and again without harm.

    Passwords are made once and kept in `data_dir`/demo-people.json, readable by its owner only; a new database gets
    those of the file. Roles that someone changed since stay as they are.
    """
    passwords = _passwords(data_dir / "demo-people.json")
    for slug, name in ORGANIZATIONS.items():
        Organization.objects.get_or_create(slug=slug, defaults={"name": name})
    for name, (slug, held) in PEOPLE.items():
        home = Organization.objects.get(slug=slug)
        user, is_new = User.objects.get_or_create(
            username=name, defaults={"home": home, "is_staff": name in STAFF, "is_superuser": name == "admin"}
        )
        if is_new or not user.check_password(passwords[name]):
            user.set_password(passwords[name])
            user.save(update_fields=["password"])
        Member.objects.get_or_create(user=user, organization=home, defaults={"roles": held})
    return passwords


def _passwords(path: Path) -> dict[str, str]:
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    passwords = known | {name: secrets.token_urlsafe(12) for name in PEOPLE if name not in known}
    if passwords != known:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(passwords, file, indent=1)
        fresh.replace(path)
    return passwords
