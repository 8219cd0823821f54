"""Training of a tokenizer."""

from limbeck_text.tokenizers.train import train


def test_training_merges_the_most_frequent_pair_first():
    tokenizer = train(["abab abab abab"] * 4, vocab=260)
    assert {"ab", "abab"} <= set(tokenizer.get_vocab())
    assert tokenizer.token_to_id("<pad>") == 0 and tokenizer.token_to_id("<eos>") == 1
