from pathlib import Path

import pytest

from harmony_pipelines.clients.spool import spool

ROWS = [
    {"name": 'two\nlines, "quoted", \u2028, か and \x00', "number": 7, "score": 0.1, "none": None},
    {"name": "", "number": -(2**62), "score": 1.0, "none": None},
]


def test_rows_come_back_in_order_as_often_as_asked(tmp_path: Path) -> None:
    with spool(tmp_path) as rows:
        rows.add(ROWS[:1])
        rows.add(iter(ROWS[1:]))
        assert [*rows] == ROWS
        assert [*rows] == ROWS


def test_one_that_holds_nothing_gives_nothing(tmp_path: Path) -> None:
    with spool(tmp_path) as rows:
        rows.add([])
        assert [*rows] == []


def test_its_file_has_no_name_and_is_gone_afterwards(tmp_path: Path) -> None:
    with pytest.raises(KeyError), spool(tmp_path) as rows:
        rows.add(ROWS)
        assert [*tmp_path.iterdir()] == []
        raise KeyError
    assert [*tmp_path.iterdir()] == []


def test_rows_are_on_the_disk_and_not_held(tmp_path: Path) -> None:
    made: list[int] = []

    def many():
        for number in range(1000):
            made.append(number)
            yield {"number": number}

    with spool(tmp_path) as rows:
        rows.add(many())
        found = iter(rows)
        assert (next(found), next(found)) == ({"number": 0}, {"number": 1})
        assert len(made) == 1000
        assert sum(row["number"] for row in rows) == sum(made)
