"""What people type about people."""

from datetime import timedelta
from typing import Any, ClassVar

from allauth.account import forms as account
from allauth.mfa.base.forms import AuthenticateForm
from allauth.mfa.totp.forms import ActivateTOTPForm
from django import forms

from accounts.models import Role, Scope, User

WHAT_ROLES_DO = {
    Role.VIEWER: "looks at everything",
    Role.OPERATOR: "starts, pauses, cancels and repairs runs",
    Role.APPROVER: "answers the questions that runs ask",
    Role.BUILDER: "writes definitions and agents",
    Role.ADMIN: "all of it, and manages members",
}
WHAT_SCOPES_ALLOW = {
    Scope.READ: "look at everything you may see",
    Scope.RUN: "start runs and act on them",
    Scope.DECIDE: "answer approvals",
    Scope.BUILD: "save definitions and agents",
    Scope.ADMIN: "all of it, and make other tokens",
}
EXPIRIES = {"7": "In 7 days", "30": "In 30 days", "90": "In 90 days", "365": "In a year", "": "Never"}
DAY_FORMAT = "%Y-%m-%d"
WHAT_PASSWORDS_MUST = "At least 12 characters, and none that many people use."


class OurWords(forms.Form):
    """A form of allauth with labels of ours, and no placeholders that say the same."""

    labels: ClassVar[dict[str, str]] = {}
    help_texts: ClassVar[dict[str, str]] = {}

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        for name, field in self.fields.items():
            field.label = self.labels.get(name, field.label)
            field.help_text = self.help_texts.get(name, "")
            field.widget.attrs.pop("placeholder", None)


class SignInForm(OurWords, account.LoginForm):
    """Fields `login` and `password`."""

    labels: ClassVar = {"login": "User name or e-mail"}

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        typing = {"autocomplete": "username webauthn", "autocapitalize": "none", "spellcheck": "false"}
        self.fields["login"].widget.attrs.update(typing)
        if not self.is_bound:
            self.fields["login"].widget.attrs["autofocus"] = True


class SetPasswordForm(OurWords, account.SetPasswordForm):
    labels: ClassVar = {"password1": "New password", "password2": "New password, again"}
    help_texts: ClassVar = {"password1": WHAT_PASSWORDS_MUST}


class ChangePasswordForm(OurWords, account.ChangePasswordForm):
    labels: ClassVar = {"oldpassword": "Present password", **SetPasswordForm.labels}
    help_texts: ClassVar = SetPasswordForm.help_texts


class ReauthenticateForm(OurWords, account.ReauthenticateForm):
    labels: ClassVar = {"password": "Your password"}


class SecondStepForm(OurWords, AuthenticateForm):
    labels: ClassVar = {"code": "Code"}


class StartTotpForm(OurWords, ActivateTOTPForm):
    labels: ClassVar = {"code": "The code that the app shows"}


class RolesForm(forms.Form):
    roles = forms.MultipleChoiceField(
        choices=[(role.value, f"{role.label}: {what}") for role, what in WHAT_ROLES_DO.items()],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one role; a viewer only looks."},
    )


class NewMemberForm(RolesForm):
    username = forms.CharField(
        label="User name",
        max_length=150,
        validators=[User.username_validator],
        help_text="Who has an account already is added as they are; a new name makes an account.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}),
    )
    email = forms.EmailField(
        label="E-mail",
        required=False,
        max_length=254,
        help_text="Of a new account only. With it they can also sign in through your sign-in service.",
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
    )
    field_order = ("username", "email", "roles")


class EmailForm(forms.Form):
    email = forms.EmailField(label="E-mail", required=False, max_length=254)


class TokenForm(forms.Form):
    name = forms.CharField(max_length=100, help_text="What will use it, such as: nightly import.")
    scopes = forms.MultipleChoiceField(
        label="May",
        required=False,
        choices=[(scope.value, f"{scope.label}: {what}") for scope, what in WHAT_SCOPES_ALLOW.items()],
        widget=forms.CheckboxSelectMultiple,
        help_text="Never more than you may yourself. None chosen: all that you may.",
    )
    expires_in = forms.ChoiceField(label="Expires", required=False, choices=EXPIRIES.items(), initial="90")

    def lifetime(self) -> timedelta | None:
        days = self.cleaned_data["expires_in"]
        return timedelta(days=int(days)) if days else None


class TrailFilter(forms.Form):
    """All of it comes from the URL; what cannot be read filters nothing."""

    actor = forms.CharField(label="Who", required=False, max_length=150)
    action = forms.CharField(
        label="Did", required=False, max_length=60, widget=forms.TextInput({"placeholder": "member., approval.…"})
    )
    target = forms.CharField(label="To what", required=False, max_length=200)
    since = forms.DateField(label="From", required=False, widget=forms.DateInput({"type": "date"}, DAY_FORMAT))
    until = forms.DateField(label="Until", required=False, widget=forms.DateInput({"type": "date"}, DAY_FORMAT))
