import pytest
import sqlalchemy as sa

from harmony_pipelines.clients import tables
from harmony_pipelines.domain.columns import COLUMNS

TABLES = {name: tables.metadata.tables[name] for name in COLUMNS if name != "embedded_artwork"}
TABLES["embedded_artwork"] = tables.artwork_results


@pytest.mark.parametrize("asset", COLUMNS)
def test_every_column_of_a_table_is_described_with_its_type(asset: str) -> None:
    told, table = COLUMNS[asset], TABLES[asset]
    assert list(told) == [column.name for column in table.columns]
    for column in table.columns:
        is_number = told[column.name].type in ("integer", "0 or 1", "float")
        assert is_number == isinstance(column.type, sa.Integer | sa.Float), column
        assert told[column.name].about.endswith(".")


def test_what_a_column_comes_from_is_there() -> None:
    for told in COLUMNS.values():
        for column in told.values():
            assert all(name in COLUMNS[asset] for asset, name in column.source)
