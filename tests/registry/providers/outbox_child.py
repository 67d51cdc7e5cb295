"""A registry that is killed while it sends: `python -m … LEDGER DATA_DIR MAIL_PORT SMS_PORT WAY claimed|sent`.

The first letter of WAY kills it: once it is claimed, or once the next hop has taken it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from registry.ledger import Ledger
from registry.providers.doors import MailDoor, SmsDoor, sends_of
from registry.providers.letters import Letter
from registry.providers.outbox import Outbox, Send
from registry.providers.states import Way
from tests.registry.providers.support import Clock, Office
from tests.registry.support import KEY


def doors(mail_port: int, sms_port: int) -> Mapping[Way, Send]:
    """To the next hops of a test."""
    mail = MailDoor("127.0.0.1", mail_port, "basvuru@bilgi.example.com.tr")
    return sends_of(mail, SmsDoor("127.0.0.1", sms_port, "izinli", "geheim", "BASVURU"))


def main(url: str, data_dir: Path, mail_port: int, sms_port: int, way: Way, when: str) -> None:
    ledger = Ledger.open(url, data_dir, KEY)
    sends = dict(doors(mail_port, sms_port))
    send = sends[way]

    def die(letter: Letter) -> None:
        if when == "sent":
            send(letter)
        os.kill(os.getpid(), signal.SIGKILL)

    sends[way] = die
    Outbox(ledger.engine, Office(ledger.engine).vault, sends).tick(Clock()())


if __name__ == "__main__":
    _, url, data_dir, mail_port, sms_port, way, when = sys.argv
    main(url, Path(data_dir), int(mail_port), int(sms_port), Way(way), when)
