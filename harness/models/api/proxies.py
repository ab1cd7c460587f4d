"""Which proxy a URL is reached through, by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, and in lower case.

The rules are those of httpx2, which the providers' clients send through: a run goes the same way whatever its client.
A test holds them against it. In NO_PROXY stand hosts (`example.com` with what is below it, `.example.com` without
itself), addresses, networks, `localhost`, `*`; any of them with a port or as a URL.

Left out: SOCKS, which aiohttp does not speak; the providers' clients do with one more package.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from urllib.parse import SplitResult, unquote, urlsplit

from harness.errors import UsageError
from harness.redaction import is_well_formed_url, public_url, userinfo

SOCKS_INSTEAD = "SOCKS goes through the provider's own client, --model-arg client=openai or client=anthropic"


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where a proxy is, without its user and password, and the header that carries them."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def find_proxy(url: str) -> Proxy | None:
    """The proxy of a URL, None where it is reached directly. Raises UsageError for one that aiohttp cannot use."""
    from urllib.request import getproxies

    found, parts = getproxies(), urlsplit(url)
    given = found.get(parts.scheme) or found.get("all")
    if not given or is_exempt(parts, found.get("no", "")):
        return None
    return read_proxy(given if "://" in given else f"http://{given}")


def check_client_proxies() -> None:
    """Raises UsageError for a SOCKS proxy that a provider's client cannot use for want of a package: it looks at every
    proxy of the environment, also where another or none is meant."""
    from urllib.request import getproxies

    found = getproxies()
    for given in filter(None, map(found.get, ("http", "https", "all"))):
        if given.lower().startswith("socks") and find_spec("socksio") is None:
            raise UsageError(
                f"The environment's proxy {public_url(given)} speaks SOCKS, for which the provider's client needs a "
                "package: pip install socksio."
            )


def read_proxy(given: str) -> Proxy:
    parts = urlsplit(given) if is_well_formed_url(given) else None
    if parts is None or parts.scheme not in {"http", "https"}:
        shown = public_url(given)
        raise UsageError(
            f"The environment's proxy {shown} is none that requests can go through, which is at http:// or https://: "
            "name another, or name the endpoint in NO_PROXY"
            + (f" ({SOCKS_INSTEAD})." if given.lower().startswith("socks") else ".")
        )
    pair = unquote(userinfo(given))
    pair = pair if ":" in pair or not pair else f"{pair}:"
    headers = {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"} if pair else {}
    return Proxy(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", headers)


def is_exempt(url: SplitResult, no_proxy: str) -> bool:
    """Whether NO_PROXY names the host of a URL."""
    entries = [entry.strip().lower() for entry in no_proxy.split(",")]
    return any(entry == "*" or (entry != "" and names(entry, url)) for entry in entries)


def names(entry: str, url: SplitResult) -> bool:
    scheme, has_scheme, place = entry.rpartition("://")
    if scheme not in {"", "all", url.scheme}:
        return False
    if (network := read_network(place)) is not None:
        return is_within(url.hostname or "", network)
    host, _, port = place.partition(":")
    if "/" in host or (port and (not port.isdigit() or int(port) != url.port)):
        return False
    return matches(url.hostname or "", host if has_scheme or host in {"", "localhost"} else widened(host))


def widened(host: str) -> str:
    """A plain name also stands for what is below it; one that begins with a dot only for that."""
    return host if host.startswith("*.") else f"*{host}"


def matches(host: str, pattern: str) -> bool:
    if pattern in {"", "*"}:
        return True
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and host != pattern[1:]
    return host == pattern.removeprefix("*") or (pattern.startswith("*") and host.endswith(f".{pattern[1:]}"))


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def read_network(place: str) -> Network | None:
    """An address or a network, an IPv6 one in brackets or without."""
    with suppress(ValueError):
        return ipaddress.ip_network(place.replace("[", "").replace("]", ""), strict=False)
    return None


def is_within(host: str, network: Network) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host) in network
    return False
