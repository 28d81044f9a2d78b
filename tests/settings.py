"""The product's settings with a handful changed: an awkward time zone, a quick hash, short leases, and for each process
of the tests a Redis database of its own, so that the hints of one do not go to the workers of another."""

import os
import re

os.environ.setdefault("SECRET_KEY", "a-key-for-tests-only")
os.environ.setdefault("WORKER_LEASE_SECONDS", "3")
os.environ.setdefault("WORKER_HEARTBEAT_SECONDS", "0.5")
os.environ.setdefault("WORKER_SWEEP_SECONDS", "0.2")

if number := re.search(r"\d+", os.environ.get("PYTEST_XDIST_WORKER", "")):
    used = re.search(r"db=(\d+)", os.environ.get("REDIS_URL", ""))
    if used:
        os.environ["REDIS_URL"] = os.environ["REDIS_URL"].replace(
            used[0], f"db={(int(used[1]) + 2 + int(number[0])) % 16}"
        )

from config.settings import *  # noqa: F403
from orchestration.engine import failpoints
from tests import failures

failpoints.reach = failures.reach

TIME_ZONE = "Asia/Kathmandu"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASES["default"]["OPTIONS"].pop("pool")  # noqa: F405  threads of a race each want a connection of their own
