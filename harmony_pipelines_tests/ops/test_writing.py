from types import SimpleNamespace
from typing import Any

import pytest

from harmony_pipelines.ops.writing import say_not_kept


@pytest.mark.parametrize(
    ("not_kept", "said"),
    [
        (set[str](), []),
        ({"owner", "attributes"}, ["could not keep: attributes, owner"]),
        ({"sync"}, ["could not sync a folder"]),
        ({"sync", "owner"}, ["could not keep: owner", "could not sync a folder"]),
    ],
)
def test_what_the_file_system_could_not_do_is_said_once(
    not_kept: set[str], said: list[str]
) -> None:
    heard: list[str] = []
    context: Any = SimpleNamespace(log=SimpleNamespace(warning=heard.append))
    work: Any = SimpleNamespace(not_kept=not_kept)
    say_not_kept(context, work)
    assert len(heard) == len(said)
    assert all(words in line for words, line in zip(said, heard, strict=True))
