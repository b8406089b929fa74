import threading
import time

import pytest

from harmony_pipelines.clients.pool import beside, in_pool


def test_every_item_comes_back_once_with_its_result():
    results = dict(in_pool(lambda number: number * 2, range(20), workers=4))

    assert results == {number: number * 2 for number in range(20)}


def test_never_more_at_once_than_workers():
    running, most, lock = 0, 0, threading.Lock()

    def work(_):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    list(in_pool(work, range(20), workers=3))

    assert most == 3


def test_what_work_raises_is_raised_to_the_caller():
    def work(number):
        raise KeyError(number)

    with pytest.raises(KeyError):
        list(in_pool(work, [1], workers=2))


def test_no_further_item_is_begun_once_the_caller_stops():
    begun = []
    results = in_pool(lambda item: begun.append(item) or time.sleep(0.05), range(100), workers=2)

    next(results)
    results.close()
    seen = len(begun)
    time.sleep(0.2)

    assert len(begun) <= seen + 2


def test_no_items_is_no_work():
    assert list(in_pool(lambda item: item, [], workers=2)) == []


def test_a_work_beside_another_is_done_at_the_same_time_and_its_result_waits():
    met = threading.Barrier(2, timeout=20)

    result = beside(lambda: (met.wait(), "there")[1])
    met.wait()

    assert [result.result(), result.result()] == ["there", "there"]


def test_what_a_work_beside_raises_is_raised_to_who_asks():
    def fail():
        raise KeyError("there")

    result = beside(fail)
    with pytest.raises(KeyError, match="there"):
        result.result()
