import pytest

from orchestration.benchmark.twin import valkey_beside


@pytest.mark.parametrize(
    ("url", "beside"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/1"),
        ("redis://localhost:6379", "redis://localhost:6379/1"),
        ("rediss://user:word@cache:6380/15", "rediss://user:word@cache:6380/0"),
        ("unix:///run/valkey.sock?db=7", "unix:///run/valkey.sock?db=8"),
        ("redis://localhost/0?db=3&timeout=5", "redis://localhost/4?timeout=5"),
        ("unix:///run/valkey.sock?password=x&db=2", "unix:///run/valkey.sock?password=x&db=3"),
        ("unix:///run/valkey.sock", "unix:///run/valkey.sock?db=1"),
    ],
)
def test_a_second_benchmark_has_the_next_database_of_the_same_valkey(url, beside):
    assert valkey_beside(url) == beside
