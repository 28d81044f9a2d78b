import pytest

from ui.reading import humanized, is_amount, number_text


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("change_percent", "Change percent"),
        ("amount", "Amount"),
        ("createdAt", "Created at"),
        ("customerID", "Customer ID"),
        ("first-name", "First name"),
        ("EUR", "EUR"),
        ("2026-10", "2026-10"),
        ("de-DE", "de-DE"),
        ("a/b", "a/b"),
        ("", ""),
        ("Größe", "Größe"),
        ("_private", "_private"),
    ],
)
def test_keys_of_programs_are_words_and_others_stay(key, words):
    assert humanized(key) == words


@pytest.mark.parametrize(
    ("value", "name", "is_number", "text"),
    [
        (250000, "amount", True, "250,000"),
        (219345.0, "amount", True, "219,345"),
        (9500, "amount", True, "9,500"),
        (1234567.25, "n", False, "1,234,567.25"),
        (-12345, "n", False, "-12,345"),
        (9500.0, "n", False, "9,500"),
        (2026, "since", False, "2026"),
        (9999, "count", False, "9999"),
        (10000, "count", False, "10,000"),
        (2026.0, "fiscal_year", True, "2026"),
        (100234567, "customer_id", False, "100234567"),
        (100234567, "invoiceNumber", False, "100234567"),
        (1761955200, "timestamp", False, "1761955200"),
        (100000, "number_of_customers", False, "100,000"),
        (100000, "calls_per_day", False, "100,000"),
        (3.4, "rate", True, "3.4"),
        (0, "n", False, "0"),
        (1e-7, "n", False, "1e-07"),
        (1e300, "n", False, "1e+300"),
        (2**63 - 1, "n", False, "9223372036854775807"),
    ],
)
def test_numbers_have_their_thousands_parted_where_they_count_something(value, name, is_number, text):
    assert number_text(value, is_amount(name, is_number=is_number)) == text
