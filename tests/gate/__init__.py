"""What a transaction costs, in counts that a busy machine does not change, held against a budget that is committed.

`stories` says what a client does, `stages` where it is played (the session core alone, or whole connections), `counting`
what is counted, `budget` how it is compared. `python -m tests.gate` prints the counts beside the budget, `--write` renews it.
"""
