"""A small ESME for the demonstration, on smpplib: its reading and writing of SMPP is not ours."""

from __future__ import annotations

import logging
from typing import Any, Final

import smpplib.client
import smpplib.consts
import smpplib.gsm

from filters.address import canonical_msisdn
from gateway.config import Address
from gateway.demo.messages import Sms

TIMEOUT_S: Final = 10
_NAMES: Final = {
    value: name for name, value in vars(smpplib.consts).items() if name.startswith("SMPP_ESME_") and type(value) is int
}


class Esme:
    """One transceiver bind. Blocking: call it from a thread."""

    def __init__(self, door: Address, system_id: str, password: str) -> None:
        self._door = door
        self._login = {"system_id": system_id, "password": password}
        self._client: Any = None

    def bind(self) -> None:
        """Log in. Raises smpplib's PDUError with the status when it is refused."""
        logging.getLogger("smpplib").setLevel(logging.CRITICAL)  # it logs whole messages
        client = smpplib.client.Client(*self._door, timeout=TIMEOUT_S, allow_unknown_opt_params=True)
        client.set_message_received_handler(lambda pdu: None)  # its own prints
        client.connect()
        client.bind_transceiver(**self._login)
        self._client = client

    def submit(self, sms: Sms) -> tuple[int, str]:
        """Send one message and wait for its answer: the command_status, and how a person would write it."""
        number = canonical_msisdn(sms.recipient.encode())
        assert number is not None
        client = self._client
        sent = client.send_message(
            source_addr_ton=smpplib.consts.SMPP_TON_ALNUM,
            source_addr=sms.source,
            dest_addr_ton=smpplib.consts.SMPP_TON_INTL,
            destination_addr=number.decode().lstrip("+"),
            data_coding=smpplib.consts.SMPP_ENCODING_ISO10646 if sms.ucs2 else smpplib.consts.SMPP_ENCODING_DEFAULT,
            short_message=sms.text.encode("utf-16-be") if sms.ucs2 else smpplib.gsm.gsm_encode(sms.text),
        )
        while True:
            answer = client.read_pdu()
            if answer.command == "submit_sm_resp" and answer.sequence == sent.sequence:
                status = int(answer.status)
                name = _NAMES.get(status, "unknown status").removeprefix("SMPP_")
                ident = getattr(answer, "message_id", None)
                told = f" id={ident.decode()}" if ident and not status else ""
                return status, f"{status:#04x} {name}{told}"

    def take_one(self) -> None:
        """Wait for one message from a handset and answer it."""
        self._client.read_once()

    def close(self) -> None:
        """Log out, if logged in."""
        if self._client is not None:
            self._client.unbind()
            self._client.disconnect()
            self._client = None
