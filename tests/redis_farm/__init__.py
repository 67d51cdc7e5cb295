"""Real Redis servers for tests, alone and several together, in all the ways in which the shared index may be kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from tests.redis_farm.cluster import RedisCluster
from tests.redis_farm.sentinel import SERVICE, RedisSentinel
from tests.redis_farm.server import RedisServer, RedisTls

__all__ = ["SERVICE", "RedisCluster", "RedisSentinel", "RedisServer", "RedisTls", "running"]

Redis = TypeVar("Redis", RedisServer, RedisTls, RedisCluster, RedisSentinel)


@contextmanager
def running(servers: Redis) -> Iterator[Redis]:
    """Started, and ended at the end, however far the start came."""
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()
