"""The short version of `durability.py` for every test run; the long one is `make durability`."""

import durability


def test_ten_kills_under_write_load_lose_nothing_that_was_acknowledged():
    ledger, _, _ = durability.run_kills(10, say=lambda *_: None)
    assert ledger.writes > 20


def test_a_backup_under_load_restores_equal_and_damaged_ones_are_refused():
    assert durability.run_backup(keys=50, say=lambda *_: None) >= 25
