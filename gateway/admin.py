"""The operator's desk: /metrics, /livez and /readyz, answered from what the workers say of themselves at that moment.

A worker that does not answer in STATUS_S has a loop that does not turn: it is missing in /metrics, and /livez says so.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import uvicorn
from fastapi import FastAPI, Response

from gateway import limits, log
from gateway.metrics import exposition
from gateway.worker import STATUS_NONCE_OCTETS

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def run(sock: socket.socket, workers: Sequence[socket.socket]) -> None:
    """Serve on `sock` until SIGTERM; `workers` are the other ends of their status pairs."""
    log.configure("admin")
    settings = uvicorn.Config(create_app(workers), log_config=None, access_log=False, lifespan="off")
    uvicorn.Server(settings).run(sockets=[sock])


def create_app(workers: Sequence[socket.socket]) -> FastAPI:
    """The three pages over `workers`."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    desk = _Desk(workers)

    @app.get("/metrics")
    async def metrics() -> Response:
        answers = [answer["metrics"] for answer in await desk.ask() if answer is not None]
        return Response(exposition(answers, expected=len(workers)), media_type=METRICS_TYPE)

    @app.get("/livez")
    async def livez() -> Response:
        answers = await desk.ask()
        silent = [f"worker-{number} silent" for number, answer in enumerate(answers) if answer is None]
        return _verdict(silent)

    @app.get("/readyz")
    async def readyz() -> Response:
        why = []
        for number, answer in enumerate(await desk.ask()):
            reasons = ["silent"] if answer is None else answer["why"]
            why += [f"worker-{number} {reason}" for reason in reasons]
        return _verdict(why)

    return app


def _verdict(why: list[str]) -> Response:
    """200 `ok`, or 503 and a line for each thing that is wrong."""
    return Response("\n".join(why or ["ok"]) + "\n", status_code=503 if why else 200, media_type="text/plain")


class _Desk:
    """Asks the workers, one question at a time each."""

    def __init__(self, workers: Sequence[socket.socket]) -> None:
        self._workers = workers
        self._locks = [asyncio.Lock() for _ in workers]
        for sock in workers:
            sock.setblocking(False)

    async def ask(self) -> list[dict[str, Any] | None]:
        """What each worker says; None: nothing, in time."""
        return await asyncio.gather(*map(self._one, self._workers, self._locks))

    async def _one(self, sock: socket.socket, lock: asyncio.Lock) -> dict[str, Any] | None:
        nonce = secrets.token_bytes(STATUS_NONCE_OCTETS)
        loop = asyncio.get_running_loop()
        async with lock:
            with suppress(TimeoutError, OSError):
                async with asyncio.timeout(limits.STATUS_S):
                    await loop.sock_sendall(sock, nonce)
                    while True:
                        answer = await loop.sock_recv(sock, 1 << 18)
                        if answer.startswith(nonce):  # else a late answer to an earlier question
                            found: dict[str, Any] = json.loads(answer[STATUS_NONCE_OCTETS:])
                            return found
        return None
