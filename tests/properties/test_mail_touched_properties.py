"""Looking at the touched lines of a copy tells as much as looking at all of it (promise I2)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from filters import dots, mail
from filters.model import Brand
from filters.notice import mail_html, mail_text
from tests.interop.letters import ALL, letter

LINK = b"https://ret.example.test/r/" + b"x" * 40


def notice(title: str) -> mail.Notice:
    brand = Brand(100001, "Örnek", title, "0123456789000015", 100001)
    return mail.Notice(mail_text(brand, mail.LINK), mail_html(brand, mail.LINK))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(ALL),
    title=st.sampled_from(["Örnek Market A.Ş.", ".nokta", "..", "Öğ " * 20]),
    header=st.sampled_from(
        [b"", b"Received: x\r\n", b".X: y\r\n", b"X: \0\r\n", b"X: y\n", b"X: " + b"y" * 999 + b"\r\n"]
    ),
    extra=st.sampled_from([b"", b".\r\n", b"..dot\r\n", b"text\r\n", b"{{izinli_link}}\r\n"]),
)
def test_i2_faults_and_dots_of_a_copy_show_in_its_touched_lines(
    kind: tuple[str, str, str], title: str, header: bytes, extra: bytes
) -> None:
    message = letter(*kind)
    if kind[1] != "base64":
        message += extra
    assert dots.line_fault(message) is None
    plan = mail.plan(message, notice(title))
    pieces = plan.render(LINK, header)
    copy, touched = b"".join(pieces), plan.touched(pieces)
    assert dots.line_fault(copy) == dots.line_fault(touched)
    starts_with_dot = dots.find_dot(message, 0) >= 0 or dots.find_dot(touched, 0) >= 0
    assert starts_with_dot or dots.find_dot(copy, 0) < 0
    assert len(touched) < len(copy)
