"""The report in words, Turkish before English: what text and PDF show alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from filters.model import Outcome, Reason
from gateway.evidence.decisions import Decision
from gateway.evidence.report import Channel, Facts, Report

TITLE: Final = "Onay ve karar dökümü / Record of consents and decisions"
INTRODUCTION: Final = (
    "Bu belge bir alıcı hakkında kayıtlı onay ve ret hareketlerinin tamamını, ileti geçidinin onun hakkında verdiği "
    "kararları ve kayıtların sonradan değiştirilmediğini gösteren özet zincirlerini içerir. Özetler BLAKE2b-256'dır; "
    "nasıl hesaplandıkları izinli belgelerindeki evidence ve journal sayfalarında yazılıdır. Kayıtların tamamını "
    "yazabilen biri zincirleri de baştan yazabilir: başka yerde saklanmış bir özet (sistem günlüğü, zaman damgası) "
    "burada ya da verify --digest ile bulunuyorsa, ondan önceki hiçbir şey değiştirilmemiştir.",
    "This document holds all recorded consents and refusals of one recipient, what the message gateway decided about "
    "them, and the digest chains that show that the records were not changed afterwards. Digests are BLAKE2b-256; how "
    "they are computed stands in the pages evidence and journal of izinli's documentation. Who can write all of the "
    "records can write the chains anew: where a digest that was kept elsewhere (a log, a time stamp) is found here, or "
    "by verify --digest, nothing before it was changed.",
)
NOTHING: Final = "yok / none"

_HEAD: Final = ("Zaman / Time (UTC)", "Karar / Decision", "Neden / Reason", "Akış / Stream", "Kayıt / Record")
_OUTCOMES: Final[dict[str, str]] = {
    Outcome.PASS: "geçti / passed",
    Outcome.BLOCK: "engellendi / refused",
    Outcome.DEFER: "ertelendi / deferred",
}
_REASONS: Final[dict[str, str]] = {
    Reason.CONSENT: "onay var / consent stands",
    Reason.TACIR_EXEMPT: "ret etmemiş tacir / merchant who has not refused",
    Reason.INFORMATIONAL: "bilgilendirme iletisi / informational",
    Reason.NO_CONSENT: "onay yok / no consent",
    Reason.REJECTED: "ret var / refused by the recipient",
    Reason.SUSPENDED: "gönderici askıda / sender suspended",
    Reason.BAD_ADDRESS: "geçersiz adres / bad address",
    Reason.NO_STREAM: "tanımsız gönderici / unknown sender",
    Reason.UNFIT: "bildirim eklenemedi / notice cannot be put in",
    Reason.SIGNED: "imzalı ileti / signed message",
    Reason.INDEX_DOWN: "dizine ulaşılamadı / index away",
    Reason.INDEX_STALE: "dizin güncel değil / index stale",
    Reason.OVERLOAD: "aşırı yük / overload",
    Reason.JOURNAL_DOWN: "karar yazılamadı / journal away",
    "suspended": "sağlayıcı durdurulmuş / provider suspended",
    Reason.INTERNAL: "iç hata / internal error",
}
_ORIGINS: Final = {
    "import": "İYS'den aktarım / import from the national system",
    "declare": "dosyayla bildirim / declared by file",
    "link": "ret bağlantısı / reject link",
    "oneclick": "tek tıkla çıkış / one-click unsubscribe",
    "sms": "SMS ile ret / refusal by SMS",
    "call": "telefonla ret / refusal by telephone",
    "api": "API",
    "api-first": "API (İYS ilk kayıtta RET almaz) / API (the national system takes no RET as a first record)",
    "api-late": "API (İYS için geç) / API (too late for the national system)",
    "declare-first": "dosyayla (İYS ilk kayıtta RET almaz) / by file (it takes no RET as a first record)",
    "declare-late": "dosyayla (İYS için geç) / by file (too late for the national system)",
}


@dataclass(slots=True)
class Section:
    """A heading, pairs of name and value, and a table of which the first row is the head."""

    title: str
    facts: list[tuple[str, str]] = field(default_factory=list)
    table: list[Sequence[str]] = field(default_factory=list)


def sections(report: Report) -> list[Section]:
    """From whom the report is about to what proves it."""
    found = [_about(report)]
    for channel in report.channels:
        found += [_channel(channel), *(_event(event) for event in channel.events), _decisions(channel.decisions)]
    return [*found, _ledger(report.ledger), _journal(report)]


def _about(report: Report) -> Section:
    result = "zincirler bozulmamış / the chains are whole" if report.whole else "BOZUKLUK VAR / FAULTS WERE FOUND"
    facts = [
        ("Alıcı / Recipient", report.recipient),
        ("Marka / Brand", f"{report.brand} {report.brand_name}".strip()),
        ("Ticari unvan / Trade title", report.brand_title or "–"),
        ("MERSİS", report.mersis or "–"),
        ("Düzenlenme / Made", f"{report.made_at} (UTC), {report.made_by}, izinli {report.version}"),
        ("Sonuç / Result", result),
    ]
    return Section(TITLE, facts)


def _channel(channel: Channel) -> Section:
    stands = [
        (f"Geçerli durum / Standing ({one['recipient_type']})", f"{one['status']} (no {one['seq']})")
        for one in channel.standing
    ]
    facts = [
        ("Anahtarlı özet / Fingerprint", channel.fingerprint),
        *(stands or [("Geçerli durum / Standing", NOTHING)]),
        ("Hareket / Events", str(len(channel.events)) if channel.events else NOTHING),
    ]
    return Section(f"Kanal / Channel: {channel.channel}", facts)


def _event(event: Facts) -> Section:
    facts = [
        ("Alıcı tipi / Recipient type", event["recipient_type"]),
        ("Kaynak / Source", event["source"] or "–"),
        ("Onay tarihi / consentDate (UTC+3)", event["consent_date"] or "–"),
        ("Kayıt zamanı / Recorded (UTC)", event["recorded_at"]),
        ("Geliş yolu / Way in", _ORIGINS.get(event["origin"], event["origin"])),
        ("Kaydeden / Recorded by", event["actor"] or "kayıt yok / not recorded"),
        ("transactionId", event["transaction_id"]),
        *([("İYS'ye iletildi / Taken by İYS (UTC)", _taken(event))] if event["taken_at"] else []),
        ("Özeti / Leaf", event["leaf"]),
        ("Mührü / Sealed with", f"no {event['first_sealed']}–{event['last_sealed']}"),
        ("Önceki özet / Digest before", event["before"]),
        ("Mühür özeti / Digest", event["digest"] or "MÜHÜRSÜZ / NOT SEALED"),
    ]
    return Section(f"No {event['seq']}: {event['status']}", facts)


def _taken(event: Facts) -> str:
    return f"{event['taken_at']} transactionId {event['taken_as'] or '–'}"


def _decisions(decisions: Sequence[Decision]) -> Section:
    section = Section("İletiler hakkında kararlar / Decisions about messages")
    if not decisions:
        section.facts.append(("Karar / Decisions", NOTHING))
        return section
    section.table.append(_HEAD)
    for one in decisions:
        outcome = _OUTCOMES.get(one.outcome, one.outcome)
        kept = " (gözlem / observed only)" if one.mode == "observe" else ""
        stream = f"{one.stream} ({one.protocol}, {one.kind}, {one.recipient_type})"
        reason = _REASONS.get(one.reason, one.reason)
        section.table.append((one.at, outcome + kept, reason, stream, f"{one.file}:{one.line} id={one.id}"))
    return section


def _ledger(ledger: Facts) -> Section:
    facts = [
        ("Hareket / Events", str(ledger["events"])),
        ("Saklama süresi dolup silinen / Removed by retention", str(ledger["removed"])),
        ("Son kayıt / Newest entry", str(ledger["head"])),
        ("Son özet / Newest digest", ledger["digest"]),
    ]
    return Section("Onay defteri zinciri / Chain of the ledger", [*facts, *_faults(ledger["faults"])])


def _journal(report: Report) -> Section:
    section = Section("Karar günlüğü zinciri / Chain of the journal")
    if not report.journal:  # a gateway elsewhere has its own
        section.facts.append(("Bu makinede günlük yok / No journal on this machine", NOTHING))
    for one in report.journal:
        size = f"{one.files} dosya / files, {one.lines} satır / lines"
        section.facts += [(f"Süreç / Worker {one.worker}", size), ("Son özet / Newest digest", one.digest)]
        if one.follows:
            section.facts.append(("Önceki dosya başka yerde / Earlier files are elsewhere", one.follows))
    if report.decisions_left_out:
        section.facts.append(("Gösterilmeyen eski karar / Older decisions left out", str(report.decisions_left_out)))
    section.facts += [("Okunamayan dosya / Unreadable file", name) for name in report.unreadable]
    section.facts += _faults([f"worker {one.worker}: {fault}" for one in report.journal for fault in one.faults])
    return section


def _faults(faults: Sequence[str]) -> list[tuple[str, str]]:
    return [("BOZUKLUK / FAULT", fault) for fault in faults] or [("Bozukluk / Faults", NOTHING)]
