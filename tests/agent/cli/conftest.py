"""What tests of several commands share."""

from pathlib import Path

import pytest

from tests.helpers.models import tiny


@pytest.fixture(scope="module")
def fresh_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model that nothing was taught, read only by agreement."""
    folder = tmp_path_factory.mktemp("fresh") / "model"
    tiny().save(folder)
    return folder
