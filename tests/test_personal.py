import ipaddress

import numpy as np
import pytest
import regex

from workbench import languages, passages, personal


def found(text):
    return [(finding.kind, text[finding.start : finding.end]) for finding in personal.find(text)]


@pytest.mark.parametrize(
    ("text", "kind", "masked"),
    [
        ("Skriv til anna.berg@skole-nord.no i dag.", "e-mail", "a…@….no"),
        ("Kontakt: (info+news@mail.firma.co.uk).", "e-mail", "i…@….uk"),
        ("Пишите: юлия@почта.бел, спасибо", "e-mail", "ю…@….бел"),
        ("Ring (+372) 52 96 318 eller kom innom.", "phone", "…18"),
        ("Call +44 (0)20 7946 0018 now", "phone", "…18"),
        ("zavolejte 00420 601 123 456.", "phone", "…56"),
        ("Rufen Sie 0151 23456789 an", "phone", "…89"),
        ("appelez le 01 23 45 67 89 !", "phone", "…89"),
        ("broj je 011/345-6789,", "phone", "…89"),
        ("bel 020-123 45 67 na zessen", "phone", "…67"),
        ("τηλ.: 210 5551234", "phone", "…34"),
        ("Puhelinnumeroni on 09-555 1234.", "phone", "…34"),
        ("tlf. 22 55 51 23", "phone", "…23"),
        ("host 93.184.216.34:8080 odpowiada", "IP address", "…34"),
        ("von [2a00:1450:4001:82a::200e] kam", "IP address", "…0e"),
        ("IBAN GB82 WEST 1234 5698 7654 32.", "IBAN", "…32"),
        ("IBAN: NO9386011117947", "IBAN", "…47"),
        ("MT84MALT011000012345MTLCAST001S", "IBAN", "…1S"),
        ("card 4111 1111 1111 1111, 12/27", "card number", "…11"),
        ("3782 822463 10005", "card number", "…05"),
        ("5500005555555559", "card number", "…59"),
    ],
)
def test_each_kind_is_found_and_masked(text, kind, masked):
    (finding,) = personal.find(text)
    assert (finding.kind, finding.masked) == (kind, masked)
    thing = text[finding.start : finding.end]
    assert thing == thing.strip(" .,:!()[]") or thing.startswith("(+")
    assert personal.mask(text) == text.replace(thing, f"[{kind}]")
    assert thing not in finding.masked


@pytest.mark.parametrize(
    "text",
    [
        # Set aside by RFC 2606 and 6761, 5737, 3849 and 9637, 1918, and for groups.
        "Write to joe@example.org, ann@mail.example.com or root@host.test.",
        "192.0.2.1, 198.51.100.77, 203.0.113.254",
        "2001:db8::8a2e:370:7334 and 3fff:0:1::77 and fe80::1ff:fe23:4567:890a and ::1",
        "192.168.178.20, 172.16.254.1, 10.200.30.40, 127.0.0.1, 255.255.255.0, 239.255.255.250",
        # Versions, sections, enzymes, object identifiers.
        "version 91.0.72.114 or v1.2.3.4, § 4.1.33.2, EC 3.4.21.92, 1.3.6.1.4.1.9590.57",
        # Dates, years, times, ratios, scores.
        "14.03.2015-15.04.2016; 2014–2020; 10:25:59; 6:1:2:1; 2021-03-05 10.00-12.30",
        "telefon 2014-2020, tel. 14.03.2015, Telefon 9.00–15.30, tel. 2021-03-05",
        # Laws, books, serials.
        "(EU) 2016/679, RT I 2006, 13, 102; č. 121/2000 Sb.; nr. 012 345 678; Φ09318/1507",
        "ISBN 978-3-16-148410-0, ISBN 0-306-40615-2, ISSN 0317-8471, doi:10.1002/1099-1417",
        # Quantities.
        "1 234 567 890 kr, 12.600.000.000 денари, 3.66666666666667, 0,00200398880410",
        "+20 000 000, 700+500-1000, 78.105.784, −273.15, 40 000 000 telefoner",
        "телефонних абонентів 12 345 678",
        # Almost: a wrong check digit, a wrong length, no issuer, a table.
        "GB82 WEST 1234 5698 7654 33, DE89 3704 0044 0532 0130 0, ZZ82 1234 5698 7654 3212",
        "4111 1111 1111 1112, 9111 1111 1111 1111, 41 11 11 11 11 11 11 11",
        "4111 1111 1111 1111 2222 3333, 4006381333931",
        # Not addresses.
        "icon@2x.png, foo@1.2.3, @handle, a @ b.c, tranquil@, x..y@firma.no, std::abc::def",
        "Boston, MA 02110-1301",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text):
    assert found(text) == []
    assert personal.mask(text) == text


def test_the_starter_corpus_holds_nothing_personal():
    texts = [
        sentence
        for tag in languages.tags()
        for sentences in passages.read(tag).values()
        for sentence in sentences
    ]
    assert {kind: int(counts.sum()) for kind, counts in personal.count_batch(texts).items()} == (
        dict.fromkeys(personal.KINDS, 0)
    )


def test_several_in_their_order():
    text = "a@firma.no, tel. 22 55 51 23 / 22 55 51 24, IBAN NO93 8601 1117 947, 93.184.216.34"
    assert [kind for kind, _ in found(text)] == ["e-mail", "phone", "phone", "IBAN", "IP address"]
    assert personal.mask(text) == "[e-mail], tel. [phone] / [phone], IBAN [IBAN], [IP address]"


def test_given_findings_are_masked_and_no_others():
    text = "a@firma.no and b@firma.no"
    first = personal.find(text)[:1]
    assert personal.mask(text, first) == "[e-mail] and b@firma.no"
    assert personal.mask(text, []) == text


def test_one_stretch_is_one_finding():
    # The digits of the IBAN are a telephone number's and, but for its check digit, a card's too.
    text = "tel. NO93 8601 1117 947"
    assert found(text) == [("IBAN", "NO93 8601 1117 947")]
    spans = [(finding.start, finding.end) for finding in personal.find("tel. 4111 1111 1111 1111")]
    assert spans == [(5, 24)]


def test_a_number_ends_where_its_country_says():
    text = "tel.: +44(0)20 7008 1111 2. pre iné územia; +1-264-497 2621/2622"
    assert found(text) == [("phone", "+44(0)20 7008 1111"), ("phone", "+1-264-497 2621")]


def test_iban_check_by_hand():
    # BE68 5390 0754 7034 becomes 539007547034 111468; its remainder by 97 is 1.
    assert 539007547034111468 % 97 == 1
    assert personal._iban_checks("BE68539007547034")
    changed = [f"BE68{digit}39007547034" for digit in "012346789"]
    assert not any(personal._iban_checks(number) for number in changed)


def test_every_country_of_sepa_has_its_length():
    # European Payments Council, list of SEPA scheme countries, by IBAN prefix.
    sepa = (
        "AD AL AT BE BG CH CY CZ DE DK EE ES FI FR GB GI GR HR HU IE IS IT LI LT LU LV MC MD ME MK "
        "MT NL NO PL PT RO RS SE SI SK SM VA"
    )
    assert set(sepa.split()) <= set(personal._IBAN_LENGTHS)
    # The shortest and the longest of ISO 13616 in Europe.
    assert personal._IBAN_LENGTHS["NO"] == 15
    assert personal._IBAN_LENGTHS["RU"] == 33
    for country, length in personal._IBAN_LENGTHS.items():
        body = "1" * (length - 4)
        check = 98 - int("".join(str(int(sign, 36)) for sign in body + country) + "00") % 97
        number = f"{country}{check:02d}{body}"
        grouped = " ".join(number[place : place + 4] for place in range(0, length, 4))
        assert found(f"({number})") == [("IBAN", number)]
        assert found(f"{grouped}.") == [("IBAN", grouped)]
        assert found(number[:-1]) != [("IBAN", number[:-1])]


def test_luhn_by_hand():
    # 7992739871 and its check digit: 7+(18-9)+9+4+7+6+9+(16-9)+7+2 = 67, and 3 makes it 70.
    assert personal._luhn_checks("79927398713")
    assert [d for d in "0123456789" if personal._luhn_checks("7992739871" + d)] == ["3"]


def test_european_numbers_are_found_in_every_usual_form():
    for code, (fewest, most) in personal._EUROPE.items():
        for size in {fewest, most}:
            national = "2345678912345"[:size]
            for text in (f"+{code} {national}", f"+{code}{national}", f"(+{code}) {national}"):
                assert found(f"x {text}, y") == [("phone", text)], text
            too_long = f"+{code}{national}" + "1" * (most - size + 1)
            assert found(too_long) == []


def test_arrays_count_by_text():
    counts = personal.count_batch(["a@firma.no b@firma.no", "", "tel. 22 55 51 23"])
    assert tuple(counts) == personal.KINDS
    assert counts["e-mail"].tolist() == [2, 0, 0]
    assert counts["phone"].tolist() == [0, 0, 1]
    assert all(array.dtype == np.int64 and array.shape == (3,) for array in counts.values())
    assert personal.count_batch([])["IBAN"].shape == (0,)


def test_random_addresses_are_nearly_all_found():
    generator = np.random.default_rng(7)
    addresses = [".".join(map(str, generator.integers(1, 255, 4))) for _ in range(400)]
    public = [one for one in addresses if ipaddress.ip_address(one).is_global]
    public = [one for one in public if not ipaddress.ip_address(one).is_multicast]
    hits = sum(found(f"from {one} at") == [("IP address", one)] for one in public)
    assert hits >= 0.98 * len(public)


def patterns():
    own = {
        name: value for name, value in vars(personal).items() if isinstance(value, regex.Pattern)
    }
    return own | {pattern.pattern: pattern for pattern, _ in personal._ISSUERS}


def test_every_pattern_matches_a_bounded_stretch():
    assert len(patterns()) > 20
    for name, pattern in patterns().items():
        without_classes = regex.sub(r"\\.|\[[^\]]*\]", "x", pattern.pattern)
        assert not regex.search(r"[*+]|\{[0-9]*,\}", without_classes), name


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "@",
        "a@",
        "a.",
        "@a.",
        "1",
        "1.",
        "1 ",
        "1:",
        "+1",
        "(1",
        "0",
        "+49 ",
        "tel ",
        "AA11",
        "DE89 ",
        "4111 ",
        "2001:",
        "1.2.3.",
        "\u00a0",
        "ё",
        "tel. 1 2 3 4 5 6 7 8 ",
    ],
)
def test_hostile_text_is_read_to_its_end(unit):
    text = unit * (40_000 // len(unit)) + " joe@firma.no"
    assert personal.find(text)[-1].kind == "e-mail"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://www.xn--mnchen-3ya.de:8080/a?b=c", "münchen.de"),
        ("HTTP://WWW.Gov.Mt/legal", "gov.mt"),
        ("https://user:secret@news.bbc.co.uk./x", "news.bbc.co.uk"),
        ("https://ελλάδα.gr/", "ελλάδα.gr"),
        ("https://xn--zzzzzzzz99999.eu/", "xn--zzzzzzzz99999.eu"),
        ("http://[2a00:1450::1]:80/", "2a00:1450::1"),
        ("https://www.com/", "com"),
        ("", ""),
        ("not a url", ""),
        ("mailto:joe@firma.no", ""),
        ("file:///etc/hosts", ""),
        ("http://[broken/", ""),
        ("www.firma.no/x", ""),
    ],
)
def test_hosts_of_addresses(url, host):
    assert personal.registrable(url) == host
