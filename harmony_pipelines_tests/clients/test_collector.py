import gc

import pytest

from harmony_pipelines.clients.collector import collected_rarely


def test_the_collector_is_as_it_was_afterwards_also_after_a_fault() -> None:
    before = gc.get_threshold()
    with pytest.raises(KeyError), collected_rarely():
        assert gc.get_threshold()[0] > before[0]
        raise KeyError
    assert gc.get_threshold() == before


def test_a_collector_that_is_off_stays_off() -> None:
    before = gc.get_threshold()
    gc.set_threshold(0, *before[1:])
    try:
        with collected_rarely():
            assert gc.get_threshold()[0] == 0
    finally:
        gc.set_threshold(*before)
