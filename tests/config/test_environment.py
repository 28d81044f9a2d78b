import re
import subprocess
import time
from pathlib import Path

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
