"""Addresses of a shared index: every form is understood, every mistake is named with what to write instead."""

from __future__ import annotations

import pytest

from filters.index_url import IndexUrl, parse


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://127.0.0.1", IndexUrl("single", (("127.0.0.1", 6379),))),
        ("redis://redis.test:6380/2", IndexUrl("single", (("redis.test", 6380),), db=2)),
        ("redis://[2001:db8::1]:7000/", IndexUrl("single", (("2001:db8::1", 7000),))),
        ("redis://[::1]", IndexUrl("single", (("::1", 6379),))),
        ("redis://izinli:p%40s%3As%2F%25@h", IndexUrl("single", (("h", 6379),), username="izinli", password="p@s:s/%")),
        ("redis://:secret@h", IndexUrl("single", (("h", 6379),), password="secret")),
        (
            "redis://izinli@h?password_file=r.key",
            IndexUrl("single", (("h", 6379),), username="izinli", password_file="r.key"),
        ),
        (
            "rediss://h?ssl_ca_certs=/etc/ca.pem&ssl_certfile=c.pem&ssl_keyfile=k.pem",
            IndexUrl(
                "single", (("h", 6379),), tls=True, ca_file="/etc/ca.pem", certificate_file="c.pem", key_file="k.pem"
            ),
        ),
        ("unix:///run/redis/redis%20a.sock?db=3", IndexUrl("single", path="/run/redis/redis a.sock", db=3)),
        (
            "redis+sentinel://u:p@s1,s2:26380,[::1]:1/izinli/4?sentinel_username=su&sentinel_password_file=s.key",
            IndexUrl(
                "sentinel",
                (("s1", 26379), ("s2", 26380), ("::1", 1)),
                service="izinli",
                username="u",
                password="p",
                db=4,
                sentinel_username="su",
                sentinel_password_file="s.key",
            ),
        ),
        ("rediss+sentinel://s1/izinli", IndexUrl("sentinel", (("s1", 26379),), service="izinli", tls=True)),
        ("redis+cluster://c1:7000,c2:7001", IndexUrl("cluster", (("c1", 7000), ("c2", 7001)))),
        ("rediss+cluster://c1/0", IndexUrl("cluster", (("c1", 6379),), tls=True)),
    ],
)
def test_forms(url: str, expected: IndexUrl) -> None:
    assert parse(url) == expected


@pytest.mark.parametrize(
    ("url", "fix"),
    [
        ("postgresql://h", "use redis://…, rediss://…, unix://…, redis+sentinel://…"),
        ("h:6379", "use redis://…"),
        ("redis://", "write host:port"),
        ("redis://h:0", "1 to 65535"),
        ("redis://h:x", "1 to 65535"),
        ("redis://h:123456789012345678901234567890", "1 to 65535"),
        ("redis://2001:db8::1", "in brackets"),
        ("redis://[::1", "in brackets"),
        ("redis://[::1]6379", "in brackets"),
        ("redis://h/first", "as in /0"),
        ("redis://h/0/1", "write /0"),
        ("redis://h1,h2", "redis+cluster://"),
        ("redis://u:a@b@h", "%40"),
        ("redis://u:a:b@h", "%3A"),
        ("redis://:@h", "user:password@"),
        ("redis://u:100%@h", "%25"),
        ("redis://u:%ff@h", "not UTF-8"),
        ("redis://u:%0a@h", "control character"),
        ("redis://u:a b@h", "percent-encoded"),
        ("redis://u:p@h?password_file=f", "keep the file"),
        ("redis://h?ssl_ca_certs=f", "write rediss"),
        ("redis://h?db=1", "unknown option 'db'"),
        ("redis://h?password_file=", "is empty"),
        ("redis://h?password_file=a&password_file=b", "stands twice"),
        ("rediss://h?ssl_keyfile=k", "name both"),
        ("unix://run/redis.sock", "unix:///run/redis/redis.sock"),
        ("redis+sentinel://s1", "…:26379/mymaster"),
        ("redis+cluster://c1/1", "leave out /1"),
    ],
)
def test_mistakes(url: str, fix: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse(url)
    assert fix in str(caught.value)


def test_i9_a_password_is_never_shown() -> None:
    assert "hunter2" not in repr(parse("redis://u:hunter2@h"))
    for url in ("redis://u:hunter2@@h", "redis://u:hunter2:@h", "redis://u:hunter2%@h", "redis://u:hunter2@h:x"):
        with pytest.raises(ValueError, match=r".") as caught:
            parse(url)
        assert "hunter2" not in str(caught.value)
