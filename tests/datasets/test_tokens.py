"""How text is split into tokens, and which of them a model knows."""

from __future__ import annotations

import pytest

from rnn_research.datasets.text.tokens import tokeniser, words
from rnn_research.datasets.text.vocabulary import Vocabulary


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't pay 1,000.50$ now!", ["Don't", "pay", "1,000.50", "$", "now", "!"]),
        ("v2.0beta", ["v2", ".", "0beta"]),
        ("हिन्दी में लिखा", ["हिन्दी", "में", "लिखा"]),
        ("Привет, мир!", ["Привет", ",", "мир", "!"]),
        ("我喜欢。ok 3.5", ["我", "喜", "欢", "。", "ok", "3.5"]),
        ("日本のテスト", ["日", "本", "の", "テ", "ス", "ト"]),
        ("สวัสดี", ["ส", "วั", "ส", "ดี"]),
        ("안녕 세계", ["안녕", "세계"]),
        ("l’été", ["l’été"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("👍🏽!🇩🇪🇫🇷", ["👍🏽", "!", "🇩🇪", "🇫🇷"]),
        ("👨\u200d👩\u200d👧 ❤\ufe0f1\ufe0f\u20e3", ["👨\u200d👩\u200d👧", "❤\ufe0f", "1\ufe0f\u20e3"]),
        (" \t\u3000", []),
    ],
)
def test_words_of_any_alphabet(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_a_text_written_in_two_ways_is_one() -> None:
    split = tokeniser("words", lower=True)
    assert split("CAFE\u0301") == split("caf\u00e9") == ["caf\u00e9"]


def test_other_tokens() -> None:
    assert tokeniser("spaces", lower=False)("What 's  it ?") == ["What", "'s", "it", "?"]
    assert tokeniser("characters", lower=True)("A b") == ["a", " ", "b"]


def test_the_most_frequent_come_first_and_rare_ones_stay_unknown() -> None:
    counts = {"b": 3, "a": 3, "c": 5, "d": 1}
    found = Vocabulary.counted(counts, min_count=2)
    assert found.tokens == ("c", "a", "b")
    assert found.encode(["c", "d", "b", "?"]).tolist() == [2, 1, 4, 1]
    assert [found.token(number) for number in range(6)] == [None, None, "c", "a", "b", None]
    assert found.size == 5
    assert Vocabulary.counted(counts, max_size=2).tokens == ("c", "a")
    assert Vocabulary.of(found.plain()).numbers == found.numbers


@pytest.mark.parametrize("plain", [["a", "a"], ["a", 1], "ab", None])
def test_what_is_no_vocabulary_is_refused(plain: object) -> None:
    with pytest.raises(ValueError, match="vocabulary: given"):
        Vocabulary.of(plain)


def test_a_vocabulary_without_a_token_is_refused() -> None:
    with pytest.raises(ValueError, match="min_count: given 9, but the most frequent token is there 3 times"):
        Vocabulary.counted({"a": 3, "b": 1}, min_count=9)
