"""What can go wrong with people and their keys. `status` is the HTTP status, `extra()` what a problem says besides."""

from typing import Any, ClassVar


class AccountsError(Exception):
    """The account does not allow that."""

    status: ClassVar[int] = 400

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "")

    def extra(self) -> dict[str, Any]:
        return {}


class TokenRefused(AccountsError):
    """The token is unknown, expired or revoked. Make a new one with `manage.py create_token` or at api/v1/tokens/."""

    status = 401


class NotAMember(AccountsError):
    """You are signed in, but are no active member of an organization. Ask an admin to add you."""

    status = 403


class UnknownScope(AccountsError):
    """The scopes of a token are read, run, decide, build and admin."""


class AlreadyRevoked(AccountsError):
    """The token was revoked before."""

    status = 409


class UnknownRole(AccountsError):
    """The roles of a member are viewer, operator, approver, builder and admin; they need at least one."""


class AlreadyAMember(AccountsError):
    """That person is a member already."""

    status = 409


class LastAdmin(AccountsError):
    """This is the last active admin of the organization. Make somebody else an admin first."""

    status = 409


class NotOnlyOurs(AccountsError):
    """This account was not made here, or was a member of another organization, or runs this installation: only they
    themselves, or whoever runs it, change how they sign in."""

    status = 409


class EmailTaken(AccountsError):
    """Somebody else has that e-mail address. If it is the same person, add them by their user name."""

    status = 409


class TooManyViews(AccountsError):
    """You have 50 saved views, which is the most. Delete one that you do not need."""

    status = 409
