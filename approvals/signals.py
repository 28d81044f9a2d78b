"""The one signal that carries news upward."""

from django.dispatch import Signal

# Sent after the commit of an answer or an expiry, with `request_id` (the primary key) and `subject`. A hint: the row
# with `acknowledged_at` null is the truth, so a receiver that fails, or a process that dies first, loses nothing.
decided = Signal()
