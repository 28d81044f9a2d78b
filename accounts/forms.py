from typing import Any

from django import forms
from django.contrib.auth import authenticate

from accounts.models import User


class LoginForm(forms.Form):
    login = forms.CharField(
        max_length=150, widget=forms.TextInput(attrs={"autocomplete": "username", "autofocus": True})
    )
    password = forms.CharField(strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}))

    def __init__(self, request: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.request = request
        self.user: User | None = None

    def clean(self) -> dict[str, Any]:
        words = super().clean() or {}
        if not self.errors:
            self.user = authenticate(self.request, username=words["login"], password=words["password"])
            if self.user is None:
                raise forms.ValidationError("This name and password do not match. Both are case-sensitive.")
        return words

    def get_user(self) -> User | None:
        return self.user
