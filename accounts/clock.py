"""The one clock whose times are compared: the database's."""

from datetime import datetime

from django.db import connection
from django.db.models import DateTimeField, Func


class ClockTimestamp(Func):
    """`clock_timestamp()`, the moment itself. `now()` is the start of the transaction, maybe before a lock was had."""

    function = "CLOCK_TIMESTAMP"
    arity = 0
    output_field = DateTimeField()


def database_clock() -> datetime:
    """The database's time in a statement of its own: after a lock, it is later than the lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (now,) = cursor.fetchone()
    return now
