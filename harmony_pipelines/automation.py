"""What runs by itself in a DAGSTER_HOME: which schedules and sensors are on, and who ticks them."""

import time
from collections.abc import Iterable
from typing import Any

import dagster as dg

_ALIVE_SECONDS = 180.0
"""A daemon says that it lives every half a minute."""


def switched_off(instance: dg.DagsterInstance, those: Iterable[Any]) -> list[str]:
    """The names of the schedules and sensors that wait to be switched on."""
    by_user = {state.name: state.status.value for state in instance.all_instigator_state()}
    return [each.name for each in those if _status(each, by_user) == "STOPPED"]


def is_daemon_alive(instance: dg.DagsterInstance) -> bool:
    """Whether a daemon has lately said in this home that it lives."""
    beats = instance.get_daemon_heartbeats().values()
    return any(time.time() - beat.timestamp < _ALIVE_SECONDS for beat in beats)


def _status(each: Any, by_user: dict[str, str]) -> str:
    said = by_user.get(each.name, "DECLARED_IN_CODE")
    return each.default_status.value if said == "DECLARED_IN_CODE" else said
