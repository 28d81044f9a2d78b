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
