import os
import shutil
import tempfile
from pathlib import Path

import pytest

from config.up.processes import Account
from config.up.services import away_folder, socket_folder


@pytest.fixture
def data():
    """A data directory another user may pass through, as root needs it; pytest's own tmp_path lets nobody in."""
    folder = Path(tempfile.mkdtemp(prefix="countersign-up-", dir="/tmp"))
    folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
    (folder / "log").mkdir(mode=0o700)
    yield folder
    for path in (socket_folder(folder, Account.choose()), away_folder(folder), folder):
        shutil.rmtree(path, ignore_errors=True)
