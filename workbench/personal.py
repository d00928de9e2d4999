"""Personal data that has a form of its own: found, counted, and made unreadable.

E-mail addresses, telephone numbers, IP addresses, IBANs and payment card numbers. A finding must
be right more than the list must be complete: a number that carries its own check is checked, and
of one that does not, form, length and the words before it decide.

Not handled: names, postal addresses, dates of birth and identity numbers; e-mail addresses that
are spelled out ("name at host dot org"); digits other than 0-9; telephone numbers with neither
country code nor leading zero nor a word such as "tel." before them; IP addresses of small numbers
(8.8.8.8), which in running text are sections and versions. What a standard sets aside for
examples or for local use identifies nobody and is left alone; everything else that has the form
is reported, be it a person's or an office's.

Every pattern matches a bounded stretch, so time grows with the length of the text and no faster.
"""

import contextlib
import ipaddress
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import regex

EMAIL, IBAN, CARD, IP, PHONE = "e-mail", "IBAN", "card number", "IP address", "phone"
KINDS = (EMAIL, IBAN, CARD, IP, PHONE)

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of personal data in a text."""

    kind: str
    """One of ``KINDS``."""
    start: int
    end: int
    """Positions in characters; the end is not part of it."""
    masked: str
    """Just enough to judge it by: ``a…@….org``, ``…68``."""


def find(text: str) -> list[Finding]:
    """Return the personal data in ``text`` in the order of the text, without overlaps."""
    spans = [(kind, *span) for kind, finder in _FINDERS.items() for span in finder(text)]
    if not spans:
        return []
    taken = bytearray(len(text))
    kept = []
    for kind, start, end in spans:
        if not any(taken[start:end]):
            taken[start:end] = b"\1" * (end - start)
            kept.append(Finding(kind, start, end, _masked(kind, text[start:end])))
    return sorted(kept, key=lambda finding: finding.start)


def mask(text: str, findings: Sequence[Finding] | None = None) -> str:
    """Replace each finding by its kind: ``write to [e-mail]``.

    Args:
        text: what to mask.
        findings: what :func:`find` returned for it; looked for now if not given.
    """
    pieces = []
    position = 0
    for finding in find(text) if findings is None else findings:
        pieces += [text[position : finding.start], f"[{finding.kind}]"]
        position = finding.end
    return "".join(pieces) + text[position:]


def count_batch(texts: Sequence[str]) -> dict[str, npt.NDArray[np.int64]]:
    """Return for each kind how many findings each text has, shape ``(texts,)``."""
    counts = {kind: np.zeros(len(texts), dtype=np.int64) for kind in KINDS}
    for number, text in enumerate(texts):
        for finding in find(text):
            counts[finding.kind][number] += 1
    return counts


def registrable(url: str) -> str:
    """Return the host of a web address for lists of sources; empty if ``url`` is none.

    ``https://www.xn--mnchen-3ya.de:8080/a`` gives ``münchen.de``. Which part of it can be
    registered (``bbc.co.uk``) is not looked up: that takes a list that changes by the week.
    """
    try:
        parts = urllib.parse.urlsplit(url.strip())
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https", "ftp"):
        return ""
    # What is written in its own letters already, or cannot be decoded, is shown as it is.
    with contextlib.suppress(UnicodeError):
        host = host.encode("ascii").decode("idna")
    return host.removeprefix("www.")


def _masked(kind: str, found: str) -> str:
    if kind == EMAIL:
        return f"{found[0]}…@….{found.rpartition('.')[2]}"
    return "…" + "".join(filter(str.isalnum, found))[-2:]


# E-mail addresses (RFC 5322 in the forms that people write, RFC 6531 for other letters).

_MAIL_DOMAIN = regex.compile(
    r"@(?P<domain>(?:[\p{L}\p{N}-]{1,63}\.){1,8}(?:xn--[a-z0-9-]{2,59}|\p{L}{2,24}))(?![\p{L}\p{N}_@])"
)
_MAIL_NAME = regex.compile(r"(?r)[\p{L}\p{N}._%+-]{1,65}")
_MAX_NAME = 64  # RFC 5321, 4.5.3.1.1
# RFC 2606 and RFC 6761.
_EXAMPLE_DOMAINS = {"example.com", "example.net", "example.org"}
_EXAMPLE_ENDINGS = {"example", "invalid", "localhost", "test"}
# An image for dense screens is called icon@2x.png.
_FILE_ENDINGS = {"css", "gif", "jpeg", "jpg", "js", "png", "svg", "webp"}


def _emails(text: str) -> Iterator[Span]:
    if "@" not in text:
        return
    for match in _MAIL_DOMAIN.finditer(text):
        name = _MAIL_NAME.match(text, 0, match.start())
        if name is None or len(name[0]) > _MAX_NAME:
            continue
        written = name[0].lstrip("._%+-")
        labels = match["domain"].lower().split(".")
        if (
            not written
            or written.endswith(".")
            or ".." in written
            or any(label.startswith("-") or label.endswith("-") for label in labels)
            or labels[-1] in _EXAMPLE_ENDINGS | _FILE_ENDINGS
            or ".".join(labels[-2:]) in _EXAMPLE_DOMAINS
        ):
            continue
        yield match.start() - len(written), match.end()


# IP addresses.

_IPV4 = regex.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_IPV6 = regex.compile(r"[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]{1,31}")
_ASSIGNED = ipaddress.IPv6Network("2000::/3")
_DOCUMENTATION = ipaddress.IPv6Network("3fff::/20")  # RFC 9637; 2001:db8::/32 is known to Python
_SMALL = 32
# Words after which four numbers are a version, an enzyme or an object identifier.
_NUMBERED = regex.compile(
    r"(?i)(?<!\p{L})(?:v|ver|vers|version|versión|versão|versione|versiune|versie|verzió|verze|"
    r"verzia|verzija|wersja|wersji|версия|версија|версія|верзија|έκδοση|sürüm|versioon|versio|"
    r"versija|versi|leagan|fersiwn|bertsio|build|release|firmware|chrome|ec|e\.c|oid)"
    r"[.:]?[^\p{L}0-9\n]{0,3}$"
)


def _addresses(text: str) -> Iterator[Span]:
    for match in _IPV4.finditer(text):
        before, after = _around(text, *match.span())
        if _part_of_longer(before, after) or _NUMBERED.search(
            text, max(0, match.start() - 16), match.start()
        ):
            continue
        # Sections, enzymes and versions are made of small numbers: not one address in a hundred
        # is, but nearly all numbers of four parts in laws and manuals are.
        if sum(int(part) >= _SMALL for part in match[0].split(".")) >= 2 and _is_public(match[0]):
            yield match.span()
    for match in _IPV6.finditer(text):
        before, after = _around(text, *match.span())
        if before[-1:].isalnum() or before[-1:] in ("_", ":") or after[:1].isalnum():
            continue
        written = match[0] if match[0].endswith("::") else match[0].rstrip(":")
        if _is_public(written):
            yield match.start(), match.start() + len(written)


def _part_of_longer(before: str, after: str) -> bool:
    """Tell whether four numbers go on as a fifth, as in object identifiers, or as a word."""
    return (
        before[-1:].isalnum()
        or before[-1:] in ("_", "-")
        or (before[-1:] in (".", ",") and before[:1].isdigit())
        or after[:1].isalnum()
        or after[:1] == "_"
        or (after[:1] in (".", ",") and after[1:].isdigit())
    )


def _is_public(written: str) -> bool:
    """Tell whether an address is valid and none of those for examples, groups or local use."""
    try:
        address = ipaddress.ip_address(written)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        return address in _ASSIGNED and address not in _DOCUMENTATION and address.is_global
    return address.is_global and not address.is_multicast


# IBANs (ISO 13616): the country decides the length, ISO 7064 MOD 97-10 the check digits.

_IBAN_TABLE = (
    "AD24 AL28 AT20 AZ28 BA20 BE16 BG22 BY28 CH21 CY28 CZ24 DE22 DK18 EE20 ES24 FI18 FO18 FR27 "
    "GB22 GE22 GI23 GL18 GR27 HR21 HU28 IE22 IS26 IT27 LI21 LT20 LU20 LV21 MC27 MD24 ME22 MK19 "
    "MT31 NL18 NO15 PL28 PT25 RO24 RS22 RU33 SE24 SI19 SK24 SM27 TR26 UA29 VA22 XK20"
)
_IBAN_LENGTHS = {entry[:2]: int(entry[2:]) for entry in _IBAN_TABLE.split()}
_IBAN = regex.compile(r"[A-Z]{2}[0-9]{2}(?:[ \u00a0-]?[A-Z0-9]){11,29}")


def _ibans(text: str) -> Iterator[Span]:
    for match in _IBAN.finditer(text, overlapped=True):
        length = _IBAN_LENGTHS.get(match[0][:2])
        places = [place for place, sign in enumerate(match[0]) if sign.isalnum()]
        if length is None or len(places) < length or _around(text, *match.span())[0][-1:].isalnum():
            continue
        end = match.start() + places[length - 1] + 1
        number = "".join(match[0][place] for place in places[:length])
        if not text[end : end + 1].isalnum() and _iban_checks(number):
            yield match.start(), end


def _iban_checks(number: str) -> bool:
    """Tell whether the remainder by 97 is 1, with A to Z read as 10 to 35."""
    digits = "".join(str(int(sign, 36)) for sign in number[4:] + number[:4])
    return int(digits) % 97 == 1


# Payment cards (ISO/IEC 7812): first digits of the networks in use in Europe, lengths, and the
# check digit after Luhn.

_CARD = regex.compile(r"[2-6](?:[ \u00a0-]?[0-9]){12,18}")
_CARD_GROUPS = {(4, 4, 4, 4), (4, 4, 4, 4, 3), (4, 6, 5), (4, 6, 4), (4, 3, 3, 3), (6, 13)}
# Where the row goes on in fours, it is one of a table.
_FOUR_BEFORE = regex.compile(r"[0-9]{4}[ \u00a0-]$")
_FOUR_AFTER = regex.compile(r"[ \u00a0-][0-9]{4}(?![0-9])")
_ISSUERS = (
    (regex.compile("4"), {13, 16, 19}),  # Visa
    (regex.compile("5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), {16}),  # Mastercard
    (regex.compile("50(?:18|20|38)|5893|6304|6759|676[1-3]"), set(range(13, 20))),  # Maestro
    (regex.compile("5019"), {16}),  # Dankort
    (regex.compile("3[47]"), {15}),  # American Express
    (regex.compile("30[0-5]|3095|3[689]"), {14}),  # Diners Club
    (regex.compile("6011|64[4-9]|65|62"), {16, 17, 18, 19}),  # Discover, UnionPay
    (regex.compile("35(?:2[89]|[3-8])|220[0-4]"), {16, 17, 18, 19}),  # JCB, Mir
)


def _cards(text: str) -> Iterator[Span]:
    for match in _CARD.finditer(text):
        start = match.start()
        for size in _ends(match[0]):
            groups = _DIGITS.findall(match[0][:size])
            if (
                _is_card("".join(groups), tuple(map(len, groups)))
                and _begins_alone(text, start)
                and _ends_alone(text, start + size)
                and not _FOUR_BEFORE.search(text, max(0, start - 6), start)
                and not _FOUR_AFTER.match(text, start + size)
            ):
                yield start, start + size
                break


def _is_card(digits: str, groups: tuple[int, ...]) -> bool:
    # Undivided, thirteen digits that begin with 4 are a German article number (EAN).
    usual = len(digits) > 13 if len(groups) == 1 else groups in _CARD_GROUPS
    return (
        usual
        and any(len(digits) in sizes and first.match(digits) for first, sizes in _ISSUERS)
        and _luhn_checks(digits)
    )


def _luhn_checks(digits: str) -> bool:
    """Tell whether the sum is a multiple of 10, every second digit from the right doubled."""
    doubled = "0246813579"
    total = sum(int(digit) for digit in digits[-1::-2])
    return (total + sum(int(doubled[int(digit)]) for digit in digits[-2::-2])) % 10 == 0


# Telephone numbers (ITU-T E.164 and the national ways to write them).

_SIX_DIGITS = regex.compile(r"[0-9](?:[^0-9\n]{0,3}[0-9]){5}")
_NUMBER = regex.compile(
    r"(?:\(?\+|\()?[0-9](?:[ ().\-/\u00a0\u2009\u202f\u2010-\u2013]{0,3}[0-9]){5,17}"
)
_DIGITS = regex.compile(r"[0-9]{1,40}")
# Country code, and the fewest and most digits after it, from the national numbering plans.
_EUROPE_TABLE = (
    "7:10-10 30:10-10 31:9-9 32:8-9 33:9-9 34:9-9 36:8-9 39:6-11 40:9-9 41:9-9 43:7-13 44:9-10 "
    "45:8-8 46:7-9 47:8-8 48:9-9 49:7-11 90:10-10 298:6-6 350:8-8 351:9-9 352:6-9 353:7-9 354:7-7 "
    "355:8-9 356:8-8 357:8-8 358:6-10 359:7-9 370:8-8 371:8-8 372:7-8 373:8-8 374:8-8 375:9-9 "
    "376:6-9 377:8-9 378:6-10 380:9-9 381:8-10 382:8-9 383:8-9 385:8-9 386:8-8 387:8-9 389:8-8 "
    "420:9-9 421:9-9 423:7-9 994:9-9 995:9-9"
)
_EUROPE = {
    code: (int(fewest), int(most))
    for code, fewest, most in (regex.split("[:-]", entry) for entry in _EUROPE_TABLE.split())
}
_LEADING_ZERO_STAYS = {"39", "378"}
_NORTH_AMERICA = regex.compile(r"1[2-9][0-9]{2}[2-9][0-9]{6}")
_ELSEWHERE = regex.compile(
    r"(?:2[07]|21[1-368]|2[346][0-9]|22[0-9]|25[0-8]|29[0179]|5[1-8]|50[0-9]|59[0-9]|6[0-6]|"
    r"67[02-9]|68[0-35-9]|69[0-2]|8[1246]|85[02356]|88[0-36]|9[1-58]|96[0-8]|97[0-79]|"
    r"99[236-8])[1-9][0-9]{4,12}"
)
_THOUSANDS = regex.compile(r"\+?[0-9]{1,3}(?:[ .\u00a0\u202f][0-9]{3}){1,5}")
_LEADING_ZERO = regex.compile(
    r"(?![0-9]{5}-[0-9]{4}$)"  # an American postal code
    r"(?:"
    # 01 23 45 67 89, 01.23.45.67.89
    r"0[1-9](?P<between>[ .\u00a0\u202f-])[0-9]{2}(?:(?P=between)[0-9]{2}){3}"
    r"|"
    # (01) ..., 030/..., 020 ..., 08-...
    r"(?:\(0[1-9][0-9]{0,3}\)[ \u00a0]?|0[1-9][0-9]{0,3}(?: ?/ ?|[ \u00a0-]))"
    # ... 7946 0018, 123 456 78, 6418 242, 20 123 4567 or 12 34 56, 12.34.56
    r"(?:(?:[0-9]{2}[ \u00a0-])?[0-9]{3,8}(?:[ \u00a0-][0-9]{2,4}){0,3}"
    r"|[0-9]{2}(?P<then>[ .\u00a0])[0-9]{2}(?P=then)[0-9]{2})"
    r")"
)
_CUE = regex.compile(
    r"(?i)(?<!\p{L})(?:tel|tél|тел|τηλ|հեռ|ტელ|tlf|tfno|puh|gsm|fax|faks|факс|φαξ|mob|моб|κιν|"
    r"(?:telef|teléf|telèf|téléph|teileaf|телеф|τηλέφ|τηλεφ|ტელეფ|հեռախ|phone|ffôn|ffon|puheli|"
    r"matkapuh|tālr|sím[ai]|mobil|mobitel|móvil|мобил|მობილ)\p{L}{0,12})(?!\p{L})"
    r"(?P<gap>[^0-9\n]{0,16})$"
)
# A stroke after so many digits is between two numbers, not behind an area code.
_TWO = regex.compile(r"(?:[^0-9]{0,4}[0-9]){6,12}[^0-9]{0,2}/")
_NEXT = regex.compile(r"[ ,;/&\u00a0]{1,3}(?:\p{L}{1,3} )?")
_REFERENCE = regex.compile(
    r"(?i)(?:№|§|\b(?:nr|no|n[ºo°]|núm|č|čís|št|br|бр|αριθ|αρ|art))[.: ]{0,3}$"
)
_DATE = regex.compile(
    r"[0-9]{1,2}[./ -]{1,2}[0-9]{1,2}[./ -]{1,2}(?:19|20)[0-9]{2}"
    r"|(?:19|20)[0-9]{2}[./ -]{1,2}[0-9]{1,2}[./ -]{1,2}[0-9]{1,2}"
    r"|(?:19|20)[0-9]{2}[^0-9]{1,3}(?:19|20)[0-9]{2}"
    r"|[0-9]{1,2}\.[0-9]{2} ?[-\u2010-\u2013] ?[0-9]{1,2}\.[0-9]{2}"
)
_YEAR = regex.compile(r"(?<![0-9])(?:19|20)[0-9]{2}(?![0-9])")


def _phones(text: str) -> Iterator[Span]:
    if not _SIX_DIGITS.search(text):
        return
    position = 0
    last = -1
    while match := _NUMBER.search(text, position):
        position = match.end()
        number = match[0] if ")" in match[0] else match[0].lstrip("(")
        start = match.end() - len(number)
        if not _begins_alone(text, start):
            continue
        if number.lstrip("(").startswith(("+", "00")):
            length = _international(number)
        else:
            length = _national(text, start, number, last)
            length = length if _ends_alone(text, start + length) else 0
        if length and not text[start + length : start + length + 1].isalnum():
            position = last = start + length
            yield start, last


def _international(number: str) -> int:
    """Return how much of ``number`` is one telephone number with its country code; 0 if none is."""
    for end in _ends(number):
        written = number[:end].replace("(0)", "")
        digits = "".join(_DIGITS.findall(written))
        if not written.lstrip("(").startswith("+"):
            digits = digits[2:]
        code = next((digits[:size] for size in (1, 2, 3) if digits[:size] in _EUROPE), None)
        if code:
            fewest, most = _EUROPE[code]
            national = digits[len(code) :]
            if fewest <= len(national) <= most and (
                not national.startswith("0") or code in _LEADING_ZERO_STAYS
            ):
                return end
        elif "+" in written and not _THOUSANDS.fullmatch(written):
            if _NORTH_AMERICA.fullmatch(digits):
                return end
            if 8 <= len(digits) <= 15 and _ELSEWHERE.fullmatch(digits):
                return end
    return 0


def _national(text: str, start: int, number: str, last: int) -> int:
    """Return how much of ``number`` is one without country code; 0 if it is likely something else.

    A word for telephone before it, or another number just before it that was one, makes any form
    likely; a leading zero only the usual ways to divide such numbers.
    """
    cue = _CUE.search(text, max(0, start - 48), start)
    if cue or (last >= 0 and _NEXT.fullmatch(text, last, start)):
        told = cue is not None and not regex.search(r"\p{L}", cue["gap"])
        for end in _ends(number):
            written = number[:end]
            size = len("".join(_DIGITS.findall(written)))
            if 6 <= size <= 12 and not _DATE.fullmatch(written) and not _TWO.match(written):
                return end if told or not _THOUSANDS.fullmatch(written) else 0
        return 0
    size = len("".join(_DIGITS.findall(number)))
    if (
        9 <= size <= 12
        and _LEADING_ZERO.fullmatch(number)
        and not _YEAR.search(number)
        and not _REFERENCE.search(text, max(0, start - 8), start)
    ):
        return len(number)
    return 0


def _ends(number: str) -> list[int]:
    """Return where groups of digits end, the last first."""
    return [group.end() for group in _DIGITS.finditer(number)][::-1]


def _begins_alone(text: str, start: int) -> bool:
    """Tell whether nothing before a number makes it a part of a word, a code or a decimal."""
    before, _ = _around(text, start, start)
    if before[-1:].isalnum() or before[-1:] in tuple("_/\\=#&%@*+-"):
        return False
    return not (before[-1:] in tuple(".,:") and before[:1].isdigit())


def _ends_alone(text: str, end: int) -> bool:
    """Tell whether nothing after a number continues it."""
    _, after = _around(text, end, end)
    if after[:1].isalnum() or after[:1] == "_":
        return False
    return not (after[:1] in tuple(".,-/:\\") and after[1:].isdigit())


def _around(text: str, start: int, end: int) -> tuple[str, str]:
    """Return the two characters before and the two after a stretch of ``text``."""
    return text[max(0, start - 2) : start], text[end : end + 2]


# Where two kinds claim the same characters, the one that is surer comes first.
_FINDERS: dict[str, Callable[[str], Iterator[Span]]] = {
    EMAIL: _emails,
    IBAN: _ibans,
    CARD: _cards,
    IP: _addresses,
    PHONE: _phones,
}
