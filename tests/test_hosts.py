"""Host names: which are this server's, and at which addresses it asks for a token."""

from __future__ import annotations

import socket

import psutil
import pytest

from modelhub.config import read_settings
from modelhub.errors import ModelhubError
from modelhub.hosts import Host, Hosts, is_loopback, parse

OWN = next(
    one.address for card in psutil.net_if_addrs().values() for one in card if one.family == socket.AF_INET
)
LOOPBACK_NAMES = [
    "127.0.0.1",
    "127.0.0.1:5000",
    "localhost",
    "LOCALHOST:80",
    "[::1]",
    "[::1]:5000",
    "[0:0:0:0:0:0:0:1]",
]
FOREIGN = [
    "evil.example",
    "evil.example:5000",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "192.0.2.7",
]
FOREIGN += [
    "",
    "::1",
    "[::2]",
    "[::1",
    "localhost:x",
    "localhost:5000:5000",
    "a b",
    "127.1",
    "localhost\n",
    "user@localhost",
]


@pytest.mark.parametrize("bound", ["127.0.0.1", "::1", "localhost", "0.0.0.0", "::"])
def test_names_of_this_machine_are_accepted_and_others_refused(bound: str) -> None:
    hosts = Hosts(bound)
    assert [name for name in LOOPBACK_NAMES if not hosts.accept(name)] == []
    assert [name for name in FOREIGN if hosts.accept(name)] == []


def test_a_server_for_others_has_the_names_of_its_machine() -> None:
    assert Hosts("0.0.0.0").accept(f"{OWN}:5000")
    assert Hosts("0.0.0.0").accept(socket.gethostname())
    assert Hosts("192.0.2.7").accept("192.0.2.7:5000")
    assert not Hosts("127.0.0.1").accept(socket.gethostname())


def test_hosts_of_the_settings_are_accepted_too() -> None:
    settings = read_settings(
        environ={"MODELHUB_HOSTS": "Models.example.org, other.example:8443,[2001:DB8::1]"}
    )
    assert settings.hosts == (
        Host("models.example.org", None),
        Host("other.example", 8443),
        Host("2001:db8::1", None),
    )
    hosts = Hosts("127.0.0.1", settings.hosts)
    accepted = ["models.example.org", "MODELS.example.org:99", "other.example:8443", "[2001:db8:0::1]:5000"]
    assert [name for name in accepted if not hosts.accept(name)] == []
    assert not hosts.accept("other.example")
    assert not hosts.accept("sub.models.example.org")


@pytest.mark.parametrize("value", ["*", "*.example.org", "http://example.org", "a,b c", "example.org/"])
def test_what_is_no_host_cannot_be_set(value: str) -> None:
    with pytest.raises(ModelhubError) as caught:
        read_settings(environ={"MODELHUB_HOSTS": value})
    assert "MODELHUB_HOSTS" in caught.value.message


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "::ffff:127.0.0.1"])
def test_loopback_needs_no_token(host: str) -> None:
    assert is_loopback(host)
    read_settings(environ={"MODELHUB_HOST": host}).check_access()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "models.example.org", "fe80::1%eth0"])
def test_any_other_address_needs_a_token_or_a_word(host: str) -> None:
    environ = {"MODELHUB_HOST": host}
    with pytest.raises(ModelhubError) as caught:
        read_settings(environ=environ).check_access()
    assert caught.value.code == "token_missing"
    assert "MODELHUB_TOKEN=$(python3 -c" in caught.value.hint
    assert "MODELHUB_INSECURE=1" in caught.value.hint
    read_settings(environ={**environ, "MODELHUB_INSECURE": "1"}).check_access()
    read_settings(environ={**environ, "MODELHUB_TOKEN": "a-token-of-its-own"}).check_access()


def test_an_address_has_one_form() -> None:
    assert parse("[::FFFF:127.0.0.1]:80") == Host("127.0.0.1", 80)
