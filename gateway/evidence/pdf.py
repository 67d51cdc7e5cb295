"""The report as a PDF (A4). Its font, Bitstream Vera, comes with ReportLab and has all Turkish letters."""

from __future__ import annotations

import io
from typing import Any, Final
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import registerFont
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import KeepTogether, Paragraph, SimpleDocTemplate, Spacer, Table

from gateway.evidence.report import Report
from gateway.evidence.sections import INTRODUCTION, TITLE, Section, sections

_FONT, _BOLD = "Vera", "VeraBd"
_MARGIN: Final = 18 * mm
_WIDTH: Final = A4[0] - 2 * _MARGIN - 12  # a frame keeps six points free at each side
_NAME_WIDTH: Final = 52 * mm
_COLUMNS: Final = tuple(_WIDTH * share for share in (0.2, 0.14, 0.18, 0.21, 0.27))

_TEXT: Final = {"fontName": _FONT, "wordWrap": "CJK"}  # breaks digests and addresses, which have no blanks, anywhere
_BODY: Final = ParagraphStyle("body", fontName=_FONT, fontSize=8, leading=11)
_VALUE: Final = ParagraphStyle("value", fontSize=7.5, leading=10, **_TEXT)
_SMALL: Final = ParagraphStyle("small", fontSize=6.5, leading=8.5, **_TEXT)
_NAME: Final = ParagraphStyle("name", fontName=_FONT, fontSize=7.5, leading=10, textColor=colors.HexColor("#444444"))
_HEAD: Final = ParagraphStyle("head", fontName=_BOLD, fontSize=6.5, leading=8.5)
_TITLE: Final = ParagraphStyle("title", fontName=_BOLD, fontSize=13, leading=18, spaceAfter=4)
_HEADING: Final = ParagraphStyle("heading", fontName=_BOLD, fontSize=9.5, leading=13, spaceBefore=8, spaceAfter=2)
_LINES: Final = [
    ("LINEBELOW", (0, 0), (-1, -1), 0.25, colors.HexColor("#cccccc")),
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LEFTPADDING", (0, 0), (-1, -1), 2),
    ("RIGHTPADDING", (0, 0), (-1, -1), 2),
    ("TOPPADDING", (0, 0), (-1, -1), 1.5),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
]


def pdf(report: Report) -> bytes:
    """The whole document."""
    for name in (_FONT, _BOLD):
        registerFont(TTFont(name, f"{name}.ttf"))
    out = io.BytesIO()
    margins = dict.fromkeys(("leftMargin", "rightMargin", "topMargin", "bottomMargin"), _MARGIN)
    document = SimpleDocTemplate(out, pagesize=A4, title=TITLE, author=f"izinli {report.version}", lang="tr", **margins)
    about, *others = sections(report)
    story = [Paragraph(escape(TITLE), _TITLE)]
    story += [Paragraph(escape(text), _BODY) for text in INTRODUCTION]
    story += [Spacer(1, 3 * mm), _facts(about)]
    for section in others:
        story += _flowables(section)

    def foot(canvas: Any, page: Any) -> None:
        canvas.setFont(_FONT, 7)
        canvas.drawString(_MARGIN, 10 * mm, f"{report.made_at} · {report.brand}")
        canvas.drawRightString(A4[0] - _MARGIN, 10 * mm, f"sayfa / page {page.page}")

    document.build(story, onFirstPage=foot, onLaterPages=foot)
    return out.getvalue()


def _flowables(section: Section) -> list[Any]:
    heading = Paragraph(escape(section.title), _HEADING)
    if not section.table:
        return [KeepTogether([heading, _facts(section)])]
    head, *rows = section.table
    cells = [[Paragraph(escape(name), _HEAD) for name in head]]
    cells += [[Paragraph(escape(value), _SMALL) for value in row] for row in rows]
    return [heading, Table(cells, colWidths=_COLUMNS, style=_LINES, repeatRows=1)]


def _facts(section: Section) -> Table:
    cells = [[Paragraph(escape(name), _NAME), Paragraph(escape(value), _VALUE)] for name, value in section.facts]
    return Table(cells, colWidths=(_NAME_WIDTH, _WIDTH - _NAME_WIDTH), style=_LINES)
