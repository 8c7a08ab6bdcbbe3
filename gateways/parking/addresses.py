"""Which addresses may be called when a stranger named them: public ones, and those that the installation allows.

Knows names, addresses and ranges; must not know what is sent there. Called when an address is entered, and for every connection.
Source: IANA special-purpose address registries (RFC 6890), OWASP Server-Side Request Forgery Prevention.
"""

import ipaddress
import re
import socket
from collections.abc import Iterator, Sequence
from typing import Final

import httpx
from msgspec import Struct

URL_LETTERS_MAX: Final = 2_000
_NUMERIC: Final = re.compile(r"(0x[0-9a-f]*|[0-9]+)", re.IGNORECASE)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_WITHIN: Final = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "::/96",  # IPv4-compatible
        "64:ff9b:1::/48",  # local NAT64
        "2001::/32",  # Teredo
        "fec0::/10",  # site-local
        "5f00::/16",  # segment routing
    )
)
"""Further IPv6 ranges in which something internal may hide."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class AddressRefused(Exception):
    """An address must not be called; the message says why and what would do."""


class NameUnknown(Exception):
    """A name has no address now."""


class Guard(Struct, frozen=True):
    """What may be called: every public address over https, and what lies in ``allowed``, also over http."""

    allowed: tuple[Network, ...] = ()

    def examine(self, url: str) -> None:
        """Look at an address that somebody enters: its form, and where its name leads now. Asks the name service; opens nothing.

        Raises:
            AddressRefused: not http or https, or it leads to where nothing may be sent.
            NameUnknown: the name has no address.
        """
        parts = parsed(url)
        host = parts.raw_host.decode("ascii")
        if _is_odd_number(host):
            raise AddressRefused(f"{host} is an unusual spelling of an address; write a name, or four decimal numbers")
        self.checked(resolved(host, parts.port or 443), secure=parts.scheme == "https")

    def checked(self, addresses: Sequence[str], *, secure: bool) -> list[str]:
        """Return the addresses of one name, if each of them may be called. One that may not spoils them all.

        Raises:
            AddressRefused: one is internal, or the connection is not encrypted and one is not allowed explicitly.
        """
        for text in addresses:
            address = ipaddress.ip_address(text)
            if self._is_allowed(address):
                continue
            if not is_public(address):
                raise AddressRefused(f"{text} is not a public address; nothing is sent to internal ones")
            if not secure:
                raise AddressRefused("https is needed; http is for addresses in the setting 'webhook_allowed_networks' only")
        return list(addresses)

    def _is_allowed(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self.allowed)


def guard(networks: Sequence[str]) -> Guard:
    """Return a guard that lets pass what lies in ``networks`` as well. Raises ValueError for what is not a network."""
    return Guard(tuple(ipaddress.ip_network(network) for network in networks))


def parsed(url: str) -> httpx.URL:
    """Return the parts of an address that may be entered. Raises AddressRefused."""
    if len(url) > URL_LETTERS_MAX or not url.isascii() or not url.isprintable() or " " in url:
        raise AddressRefused(f"the address must have at most {URL_LETTERS_MAX} printable ASCII characters and no blanks")
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as wrong:
        raise AddressRefused(f"this is not an address: {wrong}") from None
    if parts.scheme not in ("http", "https") or not parts.host:
        raise AddressRefused("the address must begin with https:// and name a host")
    if parts.port is not None and not 0 < parts.port < 65536:
        raise AddressRefused("the port must be from 1 to 65535")
    if parts.userinfo or parts.fragment or "\\" in url or "%" in parts.host:
        raise AddressRefused("the address must not have a user, a password, a fragment or a zone")
    return parts


def resolved(host: str, port: int) -> list[str]:
    """Return the addresses of a host, as the machine's name service gives them. Blocks. Raises NameUnknown."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as unknown:
        raise NameUnknown(f"the name {host} has no address: {unknown}") from None
    return list(dict.fromkeys(str(one[4][0]).partition("%")[0] for one in found))


def is_public(address: Address) -> bool:
    """Tell whether an address is reached over the public network, also when it hides another one inside."""
    if isinstance(address, ipaddress.IPv6Address) and any(address in network for network in _WITHIN):
        return False
    return all(_is_plain_public(one) for one in _meant(address))


def _is_plain_public(address: Address) -> bool:
    never = address.is_multicast or address.is_reserved or address.is_unspecified or address.is_loopback
    return address.is_global and not never and not address.is_private and not address.is_link_local


def _meant(address: Address) -> Iterator[Address]:
    """Yield the addresses that a packet may end at: those inside IPv6 forms of IPv4 in place of the form."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
    elif address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif address.sixtofour is not None:
        yield address.sixtofour
    elif address in _NAT64:
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    else:
        yield address


def _is_odd_number(host: str) -> bool:
    """Tell whether a host is a number that resolvers read as IPv4, written otherwise than as four decimal numbers."""
    labels = host.rstrip(".").split(".")
    if ":" in host or _NUMERIC.fullmatch(labels[-1]) is None:
        return False
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return True
    return False
