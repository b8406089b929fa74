import pytest

from harmony_pipelines_tests.lifecycle.user import User


@pytest.fixture
def user(tmp_path):
    folder = tmp_path / "user"
    folder.mkdir()
    with User(folder) as user:
        yield user
