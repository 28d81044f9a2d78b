"""What docs/testing.md shows, run as it stands there."""

import re
import shutil

import pytest

from tests.harness import ROOT
from tests.orchestration.testkit.test_plays import KPI

PAGE = (ROOT / "docs" / "testing.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def workflows(tmp_path, monkeypatch):
    (tmp_path / "workflows").mkdir()
    shutil.copy(KPI, tmp_path / "workflows" / "kpi.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "workflows"


def test_the_tests_of_the_page(play, workflows):
    page = {}
    shown = next(block for block in blocks("python") if "test_nobody_approves" in block)
    exec(shown, page)  # noqa: S102
    tests = [each for name, each in page.items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test(play)
    page["kpi"] = play("workflows/kpi.yaml", agents={"summarizer": page["REPORT"]})
    exec(next(block for block in blocks("python") if "kpi.step" in block), page)  # noqa: S102


def test_the_play_of_the_page(db, workflows):
    (shown,) = blocks("yaml")
    (workflows / "kpi.play.yaml").write_text(re.sub("^others.*\n", "", shown, flags=re.MULTILINE))
    page = {}
    exec(next(block for block in blocks("python") if "scripts_in" in block), page)  # noqa: S102
    (script,) = page["scripts_in"]("workflows")
    page["test_a_play"](script, db)
