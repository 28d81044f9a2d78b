"""Durations as commands take them."""

import re
from argparse import ArgumentTypeError
from datetime import timedelta

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def duration(text: str) -> timedelta:
    match = re.fullmatch(r"([1-9][0-9]{0,4})([mhdw])", text, re.ASCII)
    if match is None:
        raise ArgumentTypeError(f"{text!r} is no duration; write a number and m, h, d or w, such as 90d.")
    return timedelta(**{UNITS[match[2]]: int(match[1])})
