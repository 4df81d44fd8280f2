"""What every run of the design starts from."""

import pytest
from runs import Home


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("home") / "work")
    home.prepare()
    return home
