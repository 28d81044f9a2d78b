"""The product's settings with a handful changed: an awkward time zone, a quick hash, short leases."""

import os

os.environ.setdefault("SECRET_KEY", "a-key-for-tests-only")
os.environ.setdefault("WORKER_LEASE_SECONDS", "3")
os.environ.setdefault("WORKER_HEARTBEAT_SECONDS", "0.5")
os.environ.setdefault("WORKER_SWEEP_SECONDS", "0.2")

from config.settings import *  # noqa: F403

TIME_ZONE = "Asia/Kathmandu"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASES["default"]["OPTIONS"].pop("pool")  # noqa: F405  threads of a race each want a connection of their own
