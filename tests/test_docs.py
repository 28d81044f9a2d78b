"""The documents say what the code says."""

import inspect
import re
from pathlib import Path

import pytest

from approvals.models import Status as RequestStatus
from config.limits import LIMITS
from orchestration.language import read
from orchestration.language.reference import flow, reference
from orchestration.models import Run, Step

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
MACHINES = {"Run": Run.Status, "Step": Step.Status, "Request": RequestStatus}
SQL = ROOT / "orchestration" / "engine" / "sql"
# Read by bin/up, bin/test and bin/python, which work before there are settings.
OF_THE_LAUNCHER = {"COUNTERSIGN_DATA", "PYTHON", "COUNTERSIGN_POSTGRES", "COUNTERSIGN_CHROMIUM"}


def text(path: str) -> str:
    return (ROOT / path).read_text()


def anchors_of(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def edges_beside(name: str) -> set[tuple[str, str]]:
    """From comments like `PENDING = "pending"  # -> decided, expired` in the source of the model's statuses."""
    source = inspect.getsource(MACHINES[name])
    beside = re.findall(r"^ +[A-Z]+ = \"(\w+)\"  #.*-> ([a-z, ]+)$", source, re.MULTILINE)
    return {(start, end) for start, ends in beside for end in ends.split(", ")}


def current_functions() -> dict[str, str]:
    """The newest version of each of the engine's functions that is not past."""
    made = re.findall(
        r"create function engine_([a-z]+)_v(\d)\(", "".join(path.read_text() for path in SQL.glob("*.sql"))
    )
    return dict(sorted(made))


def section(name: str) -> str:
    return re.split(r"^## ", text("docs/state_machine.md").split(f"\n## {name}\n")[1], flags=re.MULTILINE)[0]


def test_each_variable_is_read_once_in_the_settings_and_explained() -> None:
    read = [*re.findall(r"\benv(?:\.\w+)?\(\s*\"([A-Z0-9_]+)\"", text("config/settings.py")), *LIMITS]
    explained = re.findall(r"^#?([A-Z][A-Z0-9_]*)=", text(".env.example"), re.MULTILINE)
    assert len(read) == len(set(read))
    assert len(explained) == len(set(explained))
    assert set(explained) - OF_THE_LAUNCHER == set(read) - OF_THE_LAUNCHER


@pytest.mark.parametrize("variable", sorted(OF_THE_LAUNCHER))
def test_a_variable_of_the_launcher_is_read_by_it_and_explained(variable: str) -> None:
    files = [*(ROOT / "bin").iterdir(), *(ROOT / "config" / "up").glob("*.py")]
    assert any(variable in path.read_text() for path in files)
    assert re.search(rf"^#{variable}=", text(".env.example"), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        if re.match(r"https?://|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


@pytest.mark.parametrize("name", MACHINES)
def test_each_status_of_a_model_is_explained_and_no_other(name: str) -> None:
    table = section(name).split("| status | means |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(MACHINES[name].values)


@pytest.mark.parametrize("name", MACHINES)
def test_the_edges_drawn_are_those_beside_the_model(name: str) -> None:
    drawn = set(re.findall(r"^    (\w+) --> (\w+):", section(name), re.MULTILINE))
    assert drawn == edges_beside(name)


@pytest.mark.parametrize("name", MACHINES)
def test_each_function_named_beside_an_edge_exists(name: str) -> None:
    assert set(re.findall(r"\bengine_(\w+)", section(name))) <= set(current_functions())


def test_the_reference_of_the_language_is_what_the_command_prints() -> None:
    assert text("docs/reference.md") == reference(), "manage.py definitions reference > docs/reference.md"


def test_the_index_of_the_sql_names_each_file_beside_it() -> None:
    files = {path.name for path in SQL.glob("*.sql") if not path.stem.endswith("_drop")}
    assert set(re.findall(r"\[(\w+\.sql)\]", (SQL / "README.md").read_text())) == files


def test_the_product_calls_the_current_version_of_each_function() -> None:
    called = {
        call
        for path in [*SQL.parent.glob("*.py"), *SQL.glob("*.sql")]
        for call in re.findall(r"(?<!function )\bengine_([a-z]+)_v(\d)\(", path.read_text())
    }
    current = current_functions()
    past = {(name, version) for name, version in called if current.get(name, version) != version}
    assert past == {("partitions", "3")}  # which calls the current one


@pytest.mark.parametrize(
    "value",
    [
        {"a b": [1, 2.5, None, True]},
        "30s",
        "2026-10",
        "yes",
        "1",
        "1.5",
        "",
        " a",
        "${{ x }}",
        "a: b",
        "/rows",
        [[], {}],
    ],
)
def test_examples_of_the_reference_read_as_they_are(value: object) -> None:
    assert read(f"x: {flow(value)}", "x")[0].value == {"x": value}
