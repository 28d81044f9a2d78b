import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_env_example_names_every_variable_that_is_read():
    read = set(re.findall(r"\benv(?:\.\w+)?\(\s*\"([A-Z_]+)\"", (ROOT / "config/settings.py").read_text()))
    listed = set(re.findall(r"^#([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert read - listed == set()


def test_what_is_started_knows_when_the_command_began():
    before = time.time()
    asked = [ROOT / "bin/python", "-c", "import os; print(os.environ['COUNTERSIGN_BEGAN'])"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert before <= float(said) <= time.time()


@pytest.mark.parametrize(("word", "code"), [("--help", 0), ("-h", 0), ("--prot", 2)])
def test_help_and_unknown_options_are_answered_before_anything_is_installed(tmp_path, word, code):
    for folder in ("bin", "config/up"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    asked = [tmp_path / "bin/up", word]
    said = subprocess.run(asked, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"})
    assert said.returncode == code, said.stderr
    assert "usage: bin/up [-h] [--port PORT]" in (said.stderr if code else said.stdout)
    assert "Making .venv" not in said.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "config"]
