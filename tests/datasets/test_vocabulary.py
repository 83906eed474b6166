def test_a_vocabulary_without_a_token_is_refused() -> None:
    with pytest.raises(ValueError, match="min_count: given 9, but the most frequent token is there 3 times"):
        Vocabulary.counted({"a": 3, "b": 1}, min_count=9)
