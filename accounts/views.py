from typing import Any

from django.contrib.auth.views import LoginView

from accounts.forms import LoginForm


class SignIn(LoginView):
    """Django's own, with the field names `login` and `password`."""

    form_class = LoginForm  # type: ignore[assignment]
    template_name = "accounts/login.html"
    redirect_authenticated_user = True

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "request": self.request}
