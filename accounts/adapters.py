"""What django-allauth asks us: nobody signs up, who a sign-in service's word is believed about, and our words."""

import base64
import hashlib
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.core.internal.httpkit import get_client_ip
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from allauth.socialaccount.providers.base import AuthProcess
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest
from django.shortcuts import render

from accounts import audit
from accounts.models import Member, User

NO_ADDRESS = "0.0.0.0"  # noqa: S104  who comes through a socket file has none
OTHER_KEY = (
    "Your second step was set up under another SECRET_KEY. Whoever runs this installation names the old one in "
    "SECRET_KEY_FALLBACKS, or takes the second step off your account."
)
NOT_CORRECT = "The user name or the password is not correct."


class AccountAdapter(DefaultAccountAdapter):
    error_messages = DefaultAccountAdapter.error_messages | {
        "username_password_mismatch": NOT_CORRECT,
        "email_password_mismatch": NOT_CORRECT,
        "account_inactive": "This account was deactivated. Ask an admin of your organization.",
        "too_many_login_attempts": "Too many tries. Wait five minutes, then try again.",
        "incorrect_code": "The code is not correct, or it has run out. Try the one your app shows now.",
        "incorrect_password": "That is not your password.",
        "enter_current_password": "That is not your present password.",
        "rate_limited": "Too many tries. Wait a minute, then try again.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """People are made by admins."""
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        return get_client_ip(request) or NO_ADDRESS


class SocialAccountAdapter(DefaultSocialAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return False

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """The first time, whoever has the e-mail address that the service says it verified; nobody is made a member.

        Only admins write people's addresses, so ours need no verification of their own.
        """
        if sociallogin.is_existing or sociallogin.state.get("process") != AuthProcess.LOGIN:
            return
        verified = [address.email for address in sociallogin.email_addresses if address.verified is True]
        user = _only_one_with(verified)
        if user is None:
            words = {"addresses": verified, "service": sociallogin.provider.name}
            raise ImmediateHttpResponse(render(request, "socialaccount/unknown.html", words, status=403))
        with transaction.atomic():
            sociallogin.connect(request, user)
            for member in Member.objects.filter(user=user).select_related("organization"):
                audit.record(
                    organization=member.organization,
                    actor=member,
                    action="member.connect",
                    target=member.name,
                    data={"service": sociallogin.provider.name},
                )


def _only_one_with(addresses: list[str]) -> User | None:
    found = {user.pk: user for address in addresses for user in User.objects.filter(email__iexact=address)}
    return next(iter(found.values())) if len(found) == 1 else None


class MfaAdapter(DefaultMFAAdapter):
    """Secrets of authenticator apps and recovery codes are kept encrypted with SECRET_KEY."""

    error_messages = DefaultMFAAdapter.error_messages | {
        "incorrect_code": AccountAdapter.error_messages["incorrect_code"]
    }

    def encrypt(self, text: str) -> str:
        return _cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        try:
            return _cipher().decrypt(encrypted_text.encode()).decode()
        except InvalidToken as exc:
            raise PermissionDenied(OTHER_KEY) from exc

    def generate_authenticator_name(self, user: Any, type: Authenticator.Type) -> str:
        count = Authenticator.objects.filter(user_id=user.pk, type=type).count()
        return f"Passkey {count + 1}"

    def _get_site_name(self) -> str:
        return "Countersign"


def _cipher() -> MultiFernet:
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    digests = (hashlib.sha256(b"countersign mfa " + secret.encode()).digest() for secret in secrets)
    return MultiFernet([Fernet(base64.urlsafe_b64encode(digest)) for digest in digests])
