"""The sockets the UI is served on, opened before the server and kept while it is begun again."""

import errno
import ipaddress
import socket

from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason


def listen(host: str, port: int) -> list[socket.socket]:
    """Listen on every address of the host, or say why it cannot be done."""
    opened: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        for family, address in sorted({(each[0], each[4][:2]) for each in found}):
            try:
                opened.append(socket.create_server(address, family=family))
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL or len(found) == 1:
                    raise
    except OSError as error:
        for each in opened:
            each.close()
        raise _refused(host, port, error) from error
    return opened


def _refused(host: str, port: int, error: OSError) -> HarmonyError:
    if error.errno == errno.EADDRINUSE:
        return HarmonyError(
            ErrorCode.CONFLICT,
            Reason.LOCKED,
            f"Port {port} of {host} is in use, perhaps by another `make dev`. Stop that one, or "
            "set HARMONY_UI_PORT to a free port.",
            host=host,
            port=port,
        )
    return HarmonyError(
        ErrorCode.VALIDATION_ERROR,
        Reason.SETTING,
        f"The UI cannot listen on HARMONY_UI_HOST {host}, HARMONY_UI_PORT {port}: "
        f"{error.strerror}. 127.0.0.1 is this machine only.",
        host=host,
        port=port,
    )


def is_for_others(opened: list[socket.socket]) -> bool:
    """Whether other machines may reach it."""
    addresses = (each.getsockname()[0].partition("%")[0] for each in opened)
    return not all(ipaddress.ip_address(address).is_loopback for address in addresses)
