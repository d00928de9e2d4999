import math
import unicodedata
from collections import Counter

import numpy as np
import pytest
import regex

from workbench import languages, passages, signals

INNER = regex.escape(signals.INNER)
WORD = regex.compile(rf"[\p{{L}}\p{{M}}\p{{N}}]+(?:[{INNER}][\p{{L}}\p{{M}}\p{{N}}]+)*")
# Greek, Cyrillic, Georgian, Armenian, and Latin with letters of its own.
TAGS = ["ell_Grek", "bul_Cyrl", "kat_Geor", "hye_Armn", "mlt_Latn"]


def measured(*texts):
    """The signals of every text, one dictionary a text."""
    columns = signals.measure(signals.Batch(texts))
    return [{name: column[n].item() for name, column in columns.items()} for n in range(len(texts))]


def words(batch):
    return [batch.word(number) for number in range(len(batch.word_hash))]


def lowered(word):
    return "".join(sign.lower()[0] for sign in word).replace("ς", "σ")


def starter(tag):
    return ["\n".join(sentences) for sentences in passages.read(tag).values()]


@pytest.fixture(scope="module")
def repetitive():
    """Documents in five scripts with sentences, lines and paragraphs that come again."""
    documents = []
    for tag in TAGS:
        first, second, third, *_ = passages.read(tag).values()
        documents += [
            "\n".join([*first, *second, *first[1:3], first[0].upper()]),
            "\n\n".join([" ".join(first), " ".join(second), " ".join(first), " ".join(third)]),
            " ".join([*third[:1] * 5, *second[:2] * 3]),
        ]
    return documents


@pytest.mark.parametrize("tag", languages.tags())
def test_words_and_letters_are_those_of_expressions(tag):
    texts = starter(tag)
    batch = signals.Batch(texts)
    found = signals.measure(batch)
    by_document = [WORD.findall(text) for text in texts]
    assert words(batch) == [word for document in by_document for word in document]
    assert found["words"].tolist() == [len(document) for document in by_document]
    letters = signals.script_letters(batch)
    for column, script in enumerate(languages.SCRIPTS.values()):
        pattern = regex.compile(rf"[\p{{Script={script}}}&&\p{{L}}]", regex.V1)
        assert letters[:, column].tolist() == [len(pattern.findall(text)) for text in texts]
    assert found["letters"].tolist() == [len(regex.findall(r"\p{L}", text)) for text in texts]
    assert found["characters"].tolist() == [len(text) for text in texts]
    assert found["bytes"].tolist() == [len(text.encode()) for text in texts]
    assert found["lines"].tolist() == [text.count("\n") + 1 for text in texts]
    faults = ("control", "unassigned", "private_use", "replacement", "not_nfc", "mojibake")
    assert not any(found[name].any() for name in (*faults, "mixed_script_words"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("L'intel·ligència d'en Joan-Pere -- i prou.", 5),
        ("Il-qattus x'għamel?", 2),
        ("Ինչպե՞ս ես։ Լավ եմ։", 4),
        ("cafe\u0301 naïve", 2),
        ("«რა არის?» 1918-21", 3),
        ("'quoted' - and·", 2),
        ("a--b", 2),
    ],
)
def test_words_are_held_together_by_inner_signs_only(text, expected):
    assert measured(text)[0]["words"] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Τι κάνεις; Καλά. «Κι εσύ;»", 3),
        ("Eins; zwei: drei. Vier", 1),
        ("Ո՞վ է։ Ես եմ: Լավ", 2),
        ("Wait... what?! Yes", 2),
        ("3.5 km", 1),
        ("no end", 1),
        ("", 0),
    ],
)
def test_a_semicolon_ends_a_sentence_in_greek_and_a_colon_in_armenian(text, expected):
    assert measured(text)[0]["sentences"] == expected


def test_letters_are_counted_by_script():
    batch = signals.Batch(["Ωμέγα και Zeta, 5 µm", "გამარჯობა", "אב Вы", "123"])
    assert signals.SCRIPT_COLUMNS == ("Latn", "Cyrl", "Grek", "Geor", "Armn", "other")
    assert signals.script_letters(batch).tolist() == [
        [5, 0, 8, 0, 0, 0],
        [0, 0, 0, 9, 0, 0],
        [0, 2, 0, 0, 0, 2],
        [0, 0, 0, 0, 0, 0],
    ]
    found = signals.measure(batch)
    # The sign µ is a letter of no script.
    assert found["letters"].tolist() == [14, 9, 4, 0]
    assert found["bytes"].tolist() == [29, 27, 9, 3]
    assert found["upper_case_share"].tolist() == [2 / 14, 0, 1 / 4, 0]


def test_a_word_of_two_scripts_is_told_but_not_a_compound():
    cyrillic_a, greek_o = "\u0430", "\u03bf"
    one, two, none = measured(
        f"P{cyrillic_a}ris is not Paris",
        f"c{greek_o}{cyrillic_a}t n{greek_o}w",
        "IT-сектор, NATO-ს, 5µm β-globin",
    )
    assert [entry["mixed_script_words"] for entry in (one, two, none)] == [1, 2, 0]


def test_shares_of_characters_are_worked_by_hand():
    (found,) = measured("Ab 12, «Ц»!\u00a0\n")
    assert found["characters"] == 13
    assert found["digit_share"] == 2 / 13
    assert found["white_space_share"] == 4 / 13
    assert found["punctuation_share"] == 4 / 13
    assert found["upper_case_share"] == 2 / 3
    assert found["longest_word"] == 2
    assert found["mean_word_length"] == 5 / 3


def test_characters_that_do_not_belong_are_counted_by_kind():
    (found,) = measured("a\tb\r\n\x00\x07\x85 \u0378\U000e0fff \ue000\U0010fffd \ufffd\ufffd\ufffd")
    assert found["control"] == 3
    assert found["unassigned"] == 2
    assert found["private_use"] == 2
    assert found["replacement"] == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("café", 0),
        ("cafe\u0301", 1),
        # A mark that no letter with it exists for is composed as it is.
        ("м\u0301", 0),
        # Marks out of their order, the Ångström sign, the old Greek tonos and middle dot.
        ("q\u0307\u0323", 1),
        ("\u212b", 1),
        ("\u1f71", 1),
        ("\u0387", 1),
    ],
)
def test_composed_form_is_that_of_the_standard_library(text, expected):
    assert unicodedata.is_normalized("NFC", text) != expected
    assert [entry["not_nfc"] for entry in measured("before", text, "after")] == [0, expected, 0]


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        # 'dÃ©jÃ\xa0 vu', 'â€“', 'Å\x99eÄ\x8d'
        ("déjà vu", "latin-1", 2),
        ("a–b", "cp1252", 1),
        ("řeč", "latin-1", 2),
        ("naïf", "cp1252", 1),
        # 'РІРµРґР°': only what is no Cyrillic letter tells.
        ("веда", "cp1251", 2),
        ("βε", "cp1253", 2),
        ("węch", "cp1250", 1),
        ("წა", "cp1252", 2),
        ("🙂", "cp1252", 1),
        ("\ufffd", "latin-1", 1),
    ],
)
def test_a_text_read_in_the_wrong_encoding_leaves_traces(text, encoding, expected):
    # As browsers do: a byte that the encoding leaves open stays what it is.
    wrong = "".join(bytes([byte]).decode(encoding, "ignore") or chr(byte) for byte in text.encode())
    before, after = measured(text, wrong)
    assert before["mojibake"] == 0
    assert after["mojibake"] == expected


@pytest.mark.parametrize(
    "text",
    ["«LIBERTÉ»", "SÃO — ÂÎ…", "voilà\u00a0»", "Сјај у СФРЈ", "Рік — СРСР», СІЧ…", "ΛΟΓΟ· Ξ’"],
)
def test_natural_neighbours_are_no_traces(text):
    assert measured(text)[0]["mojibake"] == 0


def test_gophers_quality_signals_are_worked_by_hand():
    (found,) = measured("# eins\n- zwei…\n\n  • drei......  \nvier 5")
    assert found["words"] == 5
    assert found["lines"] == 4
    assert found["mean_word_length"] == 17 / 5
    assert found["alphabetic_word_share"] == 4 / 5
    assert found["hash_signs_per_word"] == 1 / 5
    assert found["ellipses_per_word"] == 3 / 5
    assert found["bullet_line_share"] == 2 / 4
    assert found["ellipsis_line_share"] == 2 / 4


def test_lines_and_paragraphs_that_come_again_are_worked_by_hand():
    text = "Да!\nне\n ДА! \n\nда!\n \t\nда!\n"
    (found,) = measured(text)
    assert len(text) == 25
    assert found["lines"] == 5
    assert found["paragraphs"] == 3
    assert found["duplicate_line_share"] == 3 / 5
    assert found["duplicate_line_character_share"] == 9 / 25
    assert found["duplicate_character_share"] == 9 / (25 - 7)
    # The second and third paragraph are alike.
    assert found["duplicate_paragraph_share"] == 1 / 3
    assert found["duplicate_paragraph_character_share"] == 3 / 25


def test_finewebs_signals_are_worked_by_hand():
    long = "ա" * 31
    (found,) = measured(f"Ողջույն։\n{long}\n“So?”  \nТак…\n{long[:30]},\n{long[:30]}\nΤι;")
    assert found["lines"] == 7
    assert found["terminal_line_share"] == 4 / 7
    assert found["short_line_share"] == 5 / 7
    assert found["newlines_per_word"] == 6 / 7


def test_frequent_words_in_a_row_are_worked_by_hand():
    (found,) = measured("Τα ίδια, τα ίδια τα ΊΔΙΑ")
    assert found["characters"] == 24
    assert found["top_2_gram_share"] == 3 * 7 / 24
    # Two of three words are equally frequent; the first of them counts.
    assert found["top_3_gram_share"] == 2 * 10 / 24
    # Twice 15 characters, which overlap: no share is more than the whole.
    assert found["top_4_gram_share"] == 1
    assert measured("ha ha ha ha")[0]["top_2_gram_share"] == 1
    assert measured("ერთი ორი სამი")[0]["top_2_gram_share"] == 0


def test_covered_words_are_counted_once():
    (found,) = measured("ა ბ გ დ ე ვ ა ბ გ დ ე ვ")
    assert found["duplicate_5_gram_share"] == 6 / 23
    assert found["duplicate_6_gram_share"] == 6 / 23
    assert found["duplicate_7_gram_share"] == 0
    # The same words in another document are no repetition.
    assert [entry["duplicate_5_gram_share"] for entry in measured("a b c d e", "a b c d e")] == [
        0,
        0,
    ]


def top_characters(tokens, n):
    grams = Counter(tuple(tokens[at : at + n]) for at in range(len(tokens) - n + 1))
    if not grams:
        return 0
    gram, times = grams.most_common(1)[0]
    return times * len(" ".join(gram)) if times > 1 else 0


def covered_characters(tokens, n):
    seen = set()
    covered = [False] * len(tokens)
    for at in range(len(tokens) - n + 1):
        gram = tuple(tokens[at : at + n])
        if gram in seen:
            covered[at : at + n] = [True] * n
        seen.add(gram)
    return sum(len(token) for token, hit in zip(tokens, covered, strict=True) if hit)


def test_words_in_a_row_agree_with_a_slow_count(repetitive):
    found = signals.measure(signals.Batch(repetitive))
    for number, text in enumerate(repetitive):
        tokens = [lowered(word) for word in WORD.findall(text)]
        for n in signals.TOP_GRAMS:
            expected = min(1, top_characters(tokens, n) / len(text))
            assert found[f"top_{n}_gram_share"][number] == pytest.approx(expected)
        for n in signals.DUPLICATE_GRAMS:
            expected = covered_characters(tokens, n) / len(text)
            assert found[f"duplicate_{n}_gram_share"][number] == pytest.approx(expected)
    assert (found["duplicate_10_gram_share"] > 0.1).sum() >= len(TAGS)


def test_lines_that_come_again_agree_with_a_slow_count(repetitive):
    found = signals.measure(signals.Batch(repetitive))
    for number, text in enumerate(repetitive):
        for parts, name in ((text.split("\n"), "line"), (text.split("\n\n"), "paragraph")):
            kept = [lowered(part) for part in parts if part]
            share = 1 - len(set(kept)) / len(kept)
            assert found[f"duplicate_{name}_share"][number] == pytest.approx(share)


def test_keys_that_differ_in_their_lowest_bits_alone_stay_apart():
    keys = np.array([8, 9, 8, 2**63, 9, 10, 8], dtype=np.uint64)
    repeats = signals._repeats(keys)
    assert sorted(zip(repeats.firsts.tolist(), repeats.sizes.tolist(), strict=True)) == [
        (0, 3),
        (1, 2),
    ]
    assert repeats.any.tolist() == [True, True, True, False, True, False, True]
    assert repeats.later.tolist() == [False, False, True, False, True, False, True]


def test_a_words_hash_depends_on_nothing_around_it():
    alone = signals.Batch(["мајка"])
    for texts in (["x" * 5000, "и Мајка, МАЈКА!"], ["мајка мајка", "", "мајка"], ["\n\0мајка"]):
        batch = signals.Batch(texts)
        hashes = {
            int(value)
            for value, word in zip(batch.word_hash, words(batch), strict=True)
            if word.lower() == "мајка"
        }
        assert hashes == {int(alone.word_hash[0])}
    assert signals.Batch(["a мајка b"]).line_hash[0] != signals.Batch(["мајка"]).line_hash[0]
    line = signals.Batch(["\n  мајка \n"])
    assert line.line_hash.tolist() == line.paragraph_hash.tolist() == alone.word_hash.tolist()


def test_hashes_are_the_same_in_every_version():
    batch = signals.Batch(["ΟΔΟΣ οδος İstanbul istanbul"])
    first, second, third, fourth = batch.word_hash.tolist()
    assert first == second
    assert third == fourth
    # Worked out with plain integers: terms times powers, then SplitMix64's finaliser.
    assert first == plain_hash("οδοσ")
    assert third == plain_hash("istanbul")


def plain_hash(word):
    size = 2**64

    def mix(value):
        value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % size
        value = (value ^ value >> 27) * 0x94D049BB133111EB % size
        return value ^ value >> 31

    roots = [math.isqrt(number << 128) % size for number in (2, 3)]
    terms = [mix((ord(sign) + roots[0]) % size) for sign in word]
    return mix(sum(term * pow(roots[1], at, size) for at, term in enumerate(terms)) % size)


def test_different_words_have_different_hashes():
    texts = [text for tag in languages.tags() for text in starter(tag)]
    batch = signals.Batch(texts)
    pairs = set(zip(batch.word_hash.tolist(), map(lowered, words(batch)), strict=True))
    assert len(pairs) > 10_000
    assert len({value for value, _ in pairs}) == len({word for _, word in pairs}) == len(pairs)


def test_a_document_is_measured_alike_in_every_batch(repetitive):
    together = signals.measure(signals.Batch(["", *repetitive, "\n"]))
    for number, text in enumerate(repetitive, start=1):
        (alone,) = measured(text)
        assert {name: column[number].item() for name, column in together.items()} == alone


def test_batches_keep_order_and_size(monkeypatch):
    monkeypatch.setattr(signals, "BATCH_CHARACTERS", 10)
    monkeypatch.setattr(signals, "BATCH_DOCUMENTS", 3)
    texts = ["twelve signs", "a", "b", "c", "d", "", "nine more"]
    assert [batch.texts for batch in signals.batches(iter(texts))] == [
        ["twelve signs"],
        ["a", "b", "c"],
        ["d", "", "nine more"],
    ]
    assert list(signals.batches([])) == []


def test_offsets_cut_words_and_lines_by_document():
    batch = signals.Batch(["ena dva\ntri", "", "\n\nštiri\n\npet"])
    assert batch.doc_words.tolist() == [0, 3, 3, 5]
    assert batch.word_doc.tolist() == [0, 0, 0, 2, 2]
    assert batch.doc_lines.tolist() == [0, 2, 2, 4]
    assert batch.line_doc.tolist() == [0, 0, 2, 2]
    assert batch.doc_paragraphs.tolist() == [0, 1, 1, 3]
    assert (batch.line_end - batch.line_start).tolist() == [7, 3, 5, 3]
    assert (batch.paragraph_end - batch.paragraph_start).tolist() == [11, 5, 3]


def test_frequent_words_are_found_by_their_hashes():
    batch = signals.Batch(["И пас и мачка", "мачка", "нишо друго", ""])
    frequent = signals.Batch(["и мачка"]).word_hash
    assert signals.share_of(batch, frequent).tolist() == [3 / 4, 1, 0, 0]
    assert signals.distinct_of(batch, frequent).tolist() == [2, 1, 0, 0]
    # Not in order, and twice the same.
    again = np.concatenate([frequent[::-1], frequent])
    assert signals.distinct_of(batch, again).tolist() == [2, 1, 0, 0]
    nothing = frequent[:0]
    assert signals.share_of(batch, nothing).tolist() == [0, 0, 0, 0]
    assert signals.distinct_of(batch, nothing).tolist() == [0, 0, 0, 0]


def test_empty_and_odd_documents_are_measured():
    empty, spaces, newlines, emoji, long, returns, null, lone = measured(
        "", "   ", "\n\n\n", "🙂", "ა" * 100_000, "un\rdeux\r", "\0", "a\ud800"
    )
    assert set(empty.values()) == {0}
    assert spaces["white_space_share"] == 1
    assert spaces["words"] == spaces["lines"] == spaces["sentences"] == 0
    assert newlines["newlines_per_word"] == 3
    assert newlines["lines"] == newlines["paragraphs"] == 0
    assert (emoji["characters"], emoji["bytes"], emoji["words"], emoji["lines"]) == (1, 4, 0, 1)
    assert (long["words"], long["longest_word"], long["bytes"]) == (1, 100_000, 300_000)
    # A carriage return alone parts words and no lines.
    assert (returns["words"], returns["lines"], returns["control"]) == (2, 1, 0)
    assert (null["characters"], null["control"], null["words"], null["lines"]) == (1, 1, 0, 1)
    assert (lone["unassigned"], lone["words"], lone["bytes"]) == (1, 1, 4)
    for entry in (empty, spaces, newlines, emoji, long, returns, null, lone):
        assert all(math.isfinite(value) for value in entry.values())


def test_no_documents_give_no_values():
    batch = signals.Batch([])
    found = signals.measure(batch)
    assert list(found) == list(signals.SIGNALS)
    assert all(column.shape == (0,) for column in found.values())
    assert signals.script_letters(batch).shape == (0, len(signals.SCRIPT_COLUMNS))


def test_counts_are_integers_and_shares_are_not():
    for name, column in signals.measure(signals.Batch(["Labas rytas."])).items():
        whole = not name.endswith(("_share", "_per_word")) and name != "mean_word_length"
        assert column.dtype == (np.int64 if whole else np.float64), name
