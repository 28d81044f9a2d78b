from django.apps import AppConfig

from ui import shell


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        shell.register(shell.Entry("Settings", "pages:settings", "settings", 90, keys="g s"))
