import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ["requirements.lock", "requirements-e2e.lock"]


def pins(lock: str) -> dict[str, set[str]]:
    """Every version a lock names for a package: markers may give one several."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_host(lock):
    text = (ROOT / lock).read_text()
    assert not re.search(r"https?://|file:|--(extra-)?index-url|--find-links|--trusted-host", text)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_of_a_lock_has_its_hashes(lock):
    blocks = re.split(r"\n(?=[a-z0-9])", (ROOT / lock).read_text().strip())
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_both_locks_agree_where_they_overlap():
    main, browser = (pins(lock) for lock in LOCKS)
    assert {name: browser[name] for name in browser if name in main and browser[name] != main[name]} == {}
    assert "playwright" in browser
    assert "playwright" not in main
