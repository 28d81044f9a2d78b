"""An open page as a test plays it: it connects, and listens."""

import asyncio
import json
from urllib.parse import urlencode

from django.db import connections
from django.test import Client
from websockets.asyncio.client import unix_connect

STEPS = "".join(f"  s{n}: {{agent: echo, with: {{value: {n}}}}}\n" for n in range(5))


def signed_in(member):
    client = Client()
    client.force_login(member.user)
    return f"sessionid={client.cookies['sessionid'].value}"


def look(web, topic, cookie="", *, after=0, origin="http://localhost", member=""):
    uri = f"ws://localhost/ws/live?{urlencode({'topic': topic, 'member': member, 'after': after})}"
    return unix_connect(web.socket, uri, origin=origin, additional_headers={"Cookie": cookie}, open_timeout=30)


async def heard(page, seconds=30):
    return json.loads(await asyncio.wait_for(page.recv(), seconds))


def finally_closed(does, *given):
    try:
        does(*given)
    finally:
        connections.close_all()
