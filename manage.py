#!/usr/bin/env python3
import os
import secrets
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    if sys.argv[1:2] in (["benchmark"], ["chaos"]):
        # Their databases are thrown away, so a key that lives as long as the command is enough.
        os.environ.setdefault("SECRET_KEY", secrets.token_urlsafe(50))
    if sys.argv[1:2] == ["chaos"]:  # it starts servers of its own
        os.environ.setdefault("DATABASE_URL", "postgres:///")
        os.environ.setdefault("REDIS_URL", "redis:///")
    execute_from_command_line(sys.argv)
