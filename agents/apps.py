from django.apps import AppConfig

from agents import runners
from agents.runners import context, tool


class AgentsConfig(AppConfig):
    name = "agents"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self):
        runners.register("context", context.run, check=context.check)
        runners.register("tool", tool.run, check=tool.check)
