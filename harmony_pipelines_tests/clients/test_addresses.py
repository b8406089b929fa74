import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_pipelines.clients.addresses import AllowedHosts, is_public
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError

NOT_PUBLIC = """
    127.0.0.1 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0
    255.255.255.255 224.0.0.1 240.0.0.1 198.18.0.1 192.0.2.1 192.88.99.1 :: ::1
    ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:0:7f00:1 64:ff9b::7f00:1
    64:ff9b:1::1 2002:7f00:1:: 2001::1 2001:db8::1 fe80::1 fe80::1%eth0 fec0::1 fc00::1
    fd00:ec2::254 ff02::1 100::1 3fff::1 5f00::1 127.1 0x7f000001 2130706433 nas
"""


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "151.101.1.6", "2606:4700::1111", "2a04:4e42::1", "::ffff:8.8.8.8"],
)
def test_addresses_of_the_public_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [*NOT_PUBLIC.split(), ""],
)
def test_addresses_that_lead_elsewhere_are_not_public(address: str) -> None:
    assert not is_public(address)


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:{}", "::{}", "64:ff9b::{}"]))
def test_wrapping_an_address_never_makes_it_public(
    address: ipaddress.IPv4Address, wrapping: str
) -> None:
    assert is_public(str(address)) or not is_public(wrapping.format(address))


def test_a_listed_name_allows_its_subdomains_and_no_lookalike() -> None:
    hosts = AllowedHosts.parse()
    assert all(map(hosts.lists, ["archive.org", "ia800.us.archive.org", "i.scdn.co"]))
    assert not any(
        map(hosts.lists, ["notarchive.org", "archive.org.evil.example", "org", "", ".", "co"])
    )


def test_a_host_with_its_port_is_an_exception_for_exactly_that_port() -> None:
    hosts = AllowedHosts.parse("archive.org, NAS:8080 ,[::1]:9090,127.0.0.1:80")
    assert hosts.excepts("nas", 8080)
    assert hosts.excepts("::1", 9090)
    assert hosts.excepts("127.0.0.1", 80)
    assert not hosts.excepts("nas", 8081)
    assert not hosts.excepts("x.nas", 8080)
    assert not hosts.lists("nas")


@pytest.mark.parametrize(
    "text", ["", " , ", "https://archive.org", "*.archive.org", "com", "a b.c"]
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(HarmonyError) as refused:
        AllowedHosts.parse(text)
    assert refused.value.code is ErrorCode.VALIDATION_ERROR


def test_all_faults_of_a_list_are_named_at_once() -> None:
    with pytest.raises(HarmonyError) as refused:
        AllowedHosts.parse("archive.org,bad/path,nas:0,nas:70000,user@host.example")
    assert refused.value.details["faults"] == [
        "bad/path",
        "nas:0",
        "nas:70000",
        "user@host.example",
    ]
