from django.apps import AppConfig
from django.core.checks import register

from accounts.checks import sign_in_services
from ui import shell


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "People"  # "Accounts" is allauth's

    def ready(self) -> None:
        register(sign_in_services)
        shell.register(shell.Entry("Settings", "pages:settings", "settings", 90, keys="g s"))
