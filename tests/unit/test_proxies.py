"""The proxy of a URL: the same one that httpx2, and with it every provider's client, would take."""

from urllib.parse import urlsplit

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.models.api.proxies import find_proxy, is_exempt

HOSTS = [
    "a.example",
    "b.a.example",
    "xa.example",
    "localhost",
    "x.localhost",
    "10.0.0.7",
    "10.1.0.7",
    "[::1]",
    "[fe80::2]",
]
PLACES = [
    *("a.example", ".a.example", "*.a.example", "*a.example", "A.Example", "localhost", "10.0.0.7", "10.0.0.0/16"),
    *("10.0.0.0/33", "::1", "[::1]", "fe80::/10", "*", "", "b.a.example:8000", "a.example:443", "10.0.0.7:8000"),
    *("http://a.example", "https://a.example", "all://a.example", "http://*.a.example", "a.example/v1", "http://"),
]
URLS = st.builds(
    "{}://{}{}/v1".format, st.sampled_from(["http", "https"]), st.sampled_from(HOSTS), st.sampled_from(["", ":8000"])
)


@settings(deadline=None)
@given(URLS, st.lists(st.sampled_from(PLACES), max_size=3).map(", ".join))
def test_no_proxy_means_what_it_means_to_httpx2(url: str, no_proxy: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            patch.delenv(name, raising=False)
        patch.setenv("ALL_PROXY", "http://proxy:1")
        patch.setenv("NO_PROXY", no_proxy)
        client = httpx2.Client()
    direct = client._transport_for_url(httpx2.URL(url)) is client._transport
    client.close()
    assert is_exempt(urlsplit(url), no_proxy) is direct


def test_the_variable_of_the_scheme_goes_before_the_one_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", "all:1")
    monkeypatch.setenv("https_proxy", "https://clerk:hunter2@secure:2")
    plain, secure = find_proxy("http://h/v1"), find_proxy("https://h/v1")
    assert plain is not None
    assert secure is not None
    assert (plain.url, plain.headers) == ("http://all:1", {})
    assert secure.url == "https://secure:2"
    assert "Proxy-Authorization" in secure.headers
    assert "hunter2" not in repr(secure)


@pytest.mark.parametrize("given", ["socks5://h:1", "socks5h://h:1", "ftp://h:1", "http://h:port"])
def test_a_proxy_of_another_kind_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", given)
    with pytest.raises(UsageError, match="none that requests can go through"):
        find_proxy("https://h/v1")
