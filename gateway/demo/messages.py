"""What the demonstration sends, and to whom. Everybody and everything here is invented."""

from __future__ import annotations

from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP

from filters.model import Kind, Outcome

BRAND = 100001
CAMPAIGN_SENDER = "duyuru@kampanya.example.com.tr"
RECEIPTS_SENDER = "siparis@bilgi.example.com.tr"
CAMPAIGN_SOURCE = "ORNEKMARKET"
OTP_SOURCE = "ORNEKOTP"
SHORT_CODE = "3525"  # that handsets answer to
UCS2 = 8  # data_coding

_CONSENTS = """\
ayse.yilmaz@example.com.tr,EPOSTA,ONAY,HS_WEB,BIREYSEL,2026-01-05 10:00:00
mehmet.kaya@example.com.tr,EPOSTA,ONAY,HS_WEB,BIREYSEL,2026-01-06 11:30:00
zeynep.demir@example.com.tr,EPOSTA,ONAY,HS_FIZIKSEL_ORTAM,BIREYSEL,2026-02-11 09:15:00
elif.sahin@example.com.tr,EPOSTA,ONAY,HS_MOBIL,BIREYSEL,2026-03-02 18:45:00
mustafa.celik@example.com.tr,EPOSTA,RET,HS_EPOSTA,BIREYSEL,2026-04-20 08:00:00
satinalma@esnaf.example.com.tr,EPOSTA,RET,HS_EPOSTA,TACIR,2026-05-04 14:20:00
+905550000001,MESAJ,ONAY,HS_WEB,BIREYSEL,2026-01-05 10:00:00
+905550000002,MESAJ,ONAY,HS_CAGRI_MERKEZI,BIREYSEL,2026-01-09 16:10:00
+905550000003,MESAJ,ONAY,HS_ISLAK_IMZA,BIREYSEL,2026-02-14 12:00:00
+905550000004,MESAJ,ONAY,HS_MOBIL,BIREYSEL,2026-03-21 20:30:00
+905550000005,MESAJ,RET,HS_MESAJ,BIREYSEL,2026-04-23 13:05:00
+905550000006,ARAMA,ONAY,HS_CAGRI_MERKEZI,BIREYSEL,2026-06-01 10:00:00
"""
CONSENTS = "recipient,type,status,source,recipientType,consentDate\n" + _CONSENTS

PLAIN_TEXT = "Merhaba Ayşe Hanım,\n\nBu hafta çay, şeker ve zeytinyağında %20 indirim var.\nMağazalarımıza bekleriz."
HTML_TEXT = "Merhaba, yeni sezon ürünlerimiz geldi."
HTML = "<html><body><h1>Yeni sezon</h1><p>Işıltılı güz koleksiyonu şimdi mağazalarda.</p></body></html>"
ORDER_TEXT = "Siparişiniz kargoya verildi. Takip numaranız: 555000111."
GSM_TEXT = "Ornek Market: bu hafta sonu tum kahvelerde %20 indirim! Bekleriz."
UCS2_TEXT = "Çiçekli güz koleksiyonu şimdi mağazada!"
OTP_TEXT = "Dogrulama kodunuz: 555123. Kimseyle paylasmayin."


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail to send, and what must become of it."""

    recipient: str
    stream: str
    kind: Kind
    expected: Outcome
    sender: str = CAMPAIGN_SENDER
    text: str = PLAIN_TEXT
    html: str = ""
    encoding: str = "8bit"

    def content(self) -> bytes:
        """The message as a campaign tool would write it."""
        message = EmailMessage(policy=SMTP)
        message["From"] = f"Örnek Market <{self.sender}>"
        message["To"] = self.recipient
        message["Subject"] = "Haftanın fırsatları" if self.kind is Kind.COMMERCIAL else "Siparişiniz yolda"
        message["Date"] = "Wed, 25 Nov 2026 09:00:00 +0300"
        message["Message-ID"] = f"<ornek-{self.stream}@example.com.tr>"
        message.set_content(self.text + "\n", cte=self.encoding)
        if self.html:
            message.add_alternative(self.html + "\n", subtype="html", cte="quoted-printable")
        return message.as_bytes()


@dataclass(frozen=True, slots=True)
class Sms:
    """A short message to send, and what must become of it. `ucs2`: in UCS-2, else in the GSM default alphabet."""

    recipient: str
    stream: str
    kind: Kind
    expected: Outcome
    source: str = CAMPAIGN_SOURCE
    text: str = GSM_TEXT
    ucs2: bool = False
