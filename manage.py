#!/usr/bin/env python3
import os
import secrets
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    if sys.argv[1:2] == ["benchmark"]:
        # It measures an empty database that is thrown away, so a key that lives as long as the command is enough.
        os.environ.setdefault("SECRET_KEY", secrets.token_urlsafe(50))
    execute_from_command_line(sys.argv)
