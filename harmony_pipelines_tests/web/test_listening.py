import pytest

from harmony_pipelines.domain.errors import ErrorCode, HarmonyError
from harmony_pipelines.web.listening import is_for_others, listen


def test_a_port_in_use_is_a_conflict_that_names_the_setting() -> None:
    [first] = listen("127.0.0.1", 0)
    with first, pytest.raises(HarmonyError) as caught:
        listen("127.0.0.1", first.getsockname()[1])
    assert caught.value.code is ErrorCode.CONFLICT
    assert "HARMONY_UI_PORT" in caught.value.message


@pytest.mark.parametrize("host", ["nowhere.invalid", "192.0.2.1"])
def test_a_host_that_is_not_this_machine_is_named(host: str) -> None:
    with pytest.raises(HarmonyError) as caught:
        listen(host, 0)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert f"HARMONY_UI_HOST {host}" in caught.value.message


@pytest.mark.parametrize(("host", "others"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_only_loopback_is_for_this_machine_alone(host: str, others: bool) -> None:
    [opened] = listen(host, 0)
    with opened:
        assert is_for_others([opened]) is others
