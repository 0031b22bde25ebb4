"""One module per suite; every `test_*` function is one test."""
