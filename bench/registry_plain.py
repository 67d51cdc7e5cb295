"""The floor of the registry's tables:  python -m bench.registry_plain DATABASE PORT KNOWN

What one writes by hand with FastAPI and SQLAlchemy: a model of the body, a session for each request, a row for each
consent, committed to disk (write-ahead log, synchronous = FULL). It checks no rule and no caller, seals nothing and
publishes nothing. KNOWN consents are there from the beginning.
"""

from __future__ import annotations

import sys
from typing import Any
from uuid import uuid4

import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
from sqlalchemy import create_engine, event, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from bench import rows

ADD = "/consents"
STATUS = "/consents/status"
KEPT_SECONDS = 30  # as the registry keeps connections


class Base(DeclarativeBase):
    """The tables."""


class Consent(Base):
    """One row a request."""

    __tablename__ = "consent"
    id: Mapped[int] = mapped_column(primary_key=True)
    recipient: Mapped[str] = mapped_column(index=True)
    type: Mapped[str]
    status: Mapped[str]
    source: Mapped[str]
    recipient_type: Mapped[str]
    consent_date: Mapped[str]
    transaction_id: Mapped[str]


class Addition(BaseModel):
    """The body of an addition."""

    recipient: str
    type: str
    status: str
    source: str
    recipientType: str
    consentDate: str


class Query(BaseModel):
    """The body of a query."""

    recipient: str
    type: str
    recipientType: str


def create_app(path: str, known: int) -> FastAPI:
    """Both routes on a database in a file."""
    engine = create_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", _prepare)
    Base.metadata.create_all(engine)
    sessions = sessionmaker(engine)
    if known:
        with engine.begin() as connection:
            connection.execute(insert(Consent), [_known(digits) for digits in range(known)])
    app = FastAPI()

    def add(body: Addition) -> dict[str, str]:
        said = {"recipient_type": body.recipientType, "consent_date": body.consentDate}
        same = body.model_dump(exclude={"recipientType", "consentDate"})
        row = Consent(**same, **said, transaction_id=uuid4().hex)
        told = {"transactionId": row.transaction_id}
        with sessions.begin() as session:
            session.add(row)
        return told

    def status(body: Query) -> dict[str, str]:
        wanted = (Consent.recipient == body.recipient, Consent.type == body.type)
        with sessions() as session:
            row = session.scalars(select(Consent).where(*wanted).order_by(Consent.id.desc()).limit(1)).first()
            if row is None:
                raise HTTPException(404)
            return {"recipient": row.recipient, "status": row.status, "consentDate": row.consent_date}

    app.post(ADD)(add)
    app.post(STATUS)(status)
    return app


def _known(digits: int) -> dict[str, str]:
    said = rows.consent(rows.number(digits), "ONAY", "2026-01-05 10:00:00")
    said |= {"recipient_type": said.pop("recipientType"), "consent_date": said.pop("consentDate")}
    return said | {"transaction_id": uuid4().hex}


def _prepare(connection: Any, _record: object) -> None:
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 10000"):
        connection.execute(f"PRAGMA {pragma}")


def main() -> None:
    """Serve until SIGTERM."""
    path, port = sys.argv[1], int(sys.argv[2])
    uvicorn.run(
        create_app(path, int(sys.argv[3])),
        port=port,
        access_log=False,
        log_level="warning",
        timeout_keep_alive=KEPT_SECONDS,
    )


if __name__ == "__main__":
    main()
