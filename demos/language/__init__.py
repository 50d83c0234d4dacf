"""What the demos of language share: words, sentences, texts, a model of pronouns, rankings, baselines."""
