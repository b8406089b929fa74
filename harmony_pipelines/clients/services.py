"""The services that notifications go to: whatever Apprise knows, by its address.

Only the process that sends imports this: Apprise is large, and what it logs may name addresses.
"""

import logging
from collections.abc import Mapping
from typing import Any

import apprise
import requests
from apprise.plugins.custom_json import NotifyJSON

_BEAT_SECONDS = 5.0


def be_silent() -> None:
    """Let nothing in this process log anything: the addresses hold secrets."""
    logging.disable(logging.CRITICAL)


def is_known(url: str) -> bool:
    """Whether Apprise can make a service of the address."""
    return _service(url) is not None


def deliver(url: str, title: str, body: str, data: Mapping[str, Any], *, is_bad: bool) -> bool:
    """Send one message; whether the service took it. A service of programs gets the data too."""
    service = _service(url)
    if service is None:
        return False
    if isinstance(service, NotifyJSON):
        service.payload_extras.update(data)
    if service.overflow_mode is apprise.OverflowMode.UPSTREAM:
        service.overflow_mode = apprise.OverflowMode.TRUNCATE
    sender = apprise.Apprise(asset=service.asset)
    sender.add(service)
    kind = apprise.NotifyType.WARNING if is_bad else apprise.NotifyType.INFO
    return bool(
        sender.notify(
            body=body, title=title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT
        )
    )


def _service(url: str) -> apprise.NotifyBase | None:
    asset = apprise.AppriseAsset(
        app_id="Harmony Pipelines",
        app_desc="Harmony Pipelines",
        app_url="",
        async_mode=False,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
    )
    service = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    return service if isinstance(service, apprise.NotifyBase) else None


def ping(url: str) -> bool:
    """Call an address that only wants to hear that all is well; whether it answered so."""
    try:
        with requests.get(url, timeout=_BEAT_SECONDS, stream=True) as answer:
            return answer.ok
    except requests.RequestException:
        return False
