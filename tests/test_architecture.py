"""The house rules that a machine can hold."""

import ast
import re
from pathlib import Path

import pytest
from django.core.management import call_command

from config.celery import app as celery
from tests.harness import ROOT

MAY_IMPORT = {
    "ui": set(),
    "accounts": {"ui"},
    "agents": {"accounts", "ui"},
    "approvals": {"accounts", "ui"},
    "orchestration": {"agents", "approvals", "accounts", "ui"},
    "simulators": {"orchestration", "agents", "approvals", "accounts"},
    "config": {"orchestration", "agents", "approvals", "accounts", "ui"},
}
APPS = set(MAY_IMPORT)
# Within an app: what comes earlier never imports what comes later.
LAYERS = [
    {"exceptions", "effects", "signals", "calls", "public_ids"},
    {"models", "language"},
    {"engine", "gateways", "sources", "orchestrator", "idempotency"},
    {"tasks", "apps"},
    {"views", "api", "admin", "feeds", "urls", "site_urls", "management"},
]
WRITERS_OF_STATUS = {"models", "engine"}
SQL_STATUS = re.compile(r"\bupdate\s+\w+(?:\s+\w+)?\s+set\b[^;]*?\bstatus\s*=", re.IGNORECASE | re.DOTALL)
SENT = re.compile(r"""(?:send_task\(|"task": |'task': )\s*["']([a-z_.]+)["']""")


def product_files():
    for app in sorted(APPS):
        yield from sorted((ROOT / app).rglob("*.py"))


def trees():
    for file in product_files():
        yield file.relative_to(ROOT), ast.parse(file.read_text(), str(file))


def imported(tree, package):
    """(module, node) of each import; relative ones made whole."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            yield module, node
            for alias in node.names:
                yield f"{module}.{alias.name}", node


def layer_of(path):
    """Which layer of its app a path ("app", "models", "runs.py") lies in, or None."""
    name = Path(path[1]).stem if len(path) > 1 else ""
    return next((number for number, names in enumerate(LAYERS) if name in names), None)


def test_imports_follow_the_arrows():
    wrong = [
        f"{file}:{node.lineno} imports {module}"
        for file, tree in trees()
        for module, node in imported(tree, file.parts[:-1])
        if (target := module.partition(".")[0]) in APPS - {file.parts[0]} and target not in MAY_IMPORT[file.parts[0]]
    ]
    assert wrong == []


def test_within_an_app_imports_point_down():
    wrong = []
    for file, tree in trees():
        here = layer_of(file.parts)
        for module, node in imported(tree, file.parts[:-1]):
            parts = module.split(".")
            there = layer_of(parts) if parts[0] == file.parts[0] else None
            if here is not None and there is not None and there > here:
                wrong.append(f"{file}:{node.lineno} imports {module}")
    assert wrong == []


def test_no_import_hides_in_a_function():
    wrong = [
        f"{file}:{inner.lineno}"
        for file, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    ]
    assert wrong == []


def writes_of_status(tree):
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            if isinstance(target, ast.Attribute) and target.attr == "status":
                owner = target.value
                if not (isinstance(owner, ast.Name) and owner.id == "response"):
                    yield node
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            names = {keyword.arg for keyword in node.keywords}
            if node.func.attr in {"update", "create", "update_or_create", "bulk_update"} and "status" in names:
                yield node
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL_STATUS.search(node.value):
            yield node


def test_only_models_and_the_engine_write_a_status():
    wrong = [
        f"{file}:{node.lineno}"
        for file, tree in trees()
        if file.parts[1].removesuffix(".py") not in WRITERS_OF_STATUS
        for node in writes_of_status(tree)
    ]
    assert wrong == []


def test_sql_that_writes_a_status_lies_with_the_engine():
    wrong = [
        str(file.relative_to(ROOT))
        for app in APPS
        for file in (ROOT / app).rglob("*.sql")
        if SQL_STATUS.search(file.read_text()) and file.relative_to(ROOT).parts[1] != "engine"
    ]
    assert wrong == []


def test_no_wall_clock_of_a_process_decides_anything_in_the_engine():
    clocks = re.compile(r"\btime\.time(_ns)?\(|timezone\.now|datetime\.(now|utcnow|today)|date\.today")
    files = [*(ROOT / "orchestration" / "engine").glob("*.py"), *(ROOT / "approvals" / "models").glob("*.py")]
    assert [str(file.relative_to(ROOT)) for file in files if clocks.search(file.read_text())] == []


def test_nothing_in_the_product_sets_a_point_of_failure():
    sets = re.compile(r"failpoints\.reach\s*=|failpoints import .*reach|setattr\(failpoints")
    assert [str(file) for file, _ in trees() if sets.search((ROOT / file).read_text())] == []


@pytest.mark.parametrize(
    "slip",
    [
        "run.status = 'completed'",
        "Run.objects.filter(pk=1).update(status='completed')",
        "rows('update orchestration_run r set seq = 1, status = %s')",
    ],
)
def test_a_write_of_status_is_noticed(slip):
    assert list(writes_of_status(ast.parse(slip)))


def test_every_celery_name_that_is_sent_is_registered():
    celery.loader.import_default_modules()
    sent = {name for file in product_files() for name in SENT.findall(file.read_text())}
    assert sent, "nothing is sent: look at the pattern"
    assert sent <= set(celery.tasks)


def test_models_and_migrations_agree(db):
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
