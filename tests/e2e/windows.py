"""What the tests look through: the browser's complaints, and the API as a person."""

import re

import httpx2

# The browser tells of every answer that is an error and of every connection that breaks.
OF_THE_NETWORK = re.compile(r"Failed to load resource|WebSocket connection|net::ERR_|NetworkError|Failed to fetch")


class Troubles:
    """Errors on a page's console, exceptions nobody caught, and what the Content-Security-Policy refused."""

    def __init__(self):
        self.found = []
        self._expected = []

    def watch(self, page):
        page.on("console", lambda message: self._hear(page, message))
        page.on("pageerror", lambda error: self._add(page, f"not caught: {error}"))

    def expected(self, pattern=OF_THE_NETWORK):
        self._expected.append(re.compile(pattern))
        self.found = [words for words in self.found if not self._is_expected(words)]

    def _hear(self, page, message):
        if message.type == "error":
            self._add(page, f"{message.text} {message.location['url']}")

    def _add(self, page, words):
        if not self._is_expected(words):
            self.found.append(f"{page.url}: {words}")

    def _is_expected(self, words):
        return any(pattern.search(words) for pattern in self._expected)


class Client:
    def __init__(self, site, token):
        headers = {"Authorization": f"Bearer {token}"}
        self._client = httpx2.Client(base_url=f"http://127.0.0.1:{site.port}/api/v1/", headers=headers, timeout=30)

    def get(self, path):
        return self._client.get(path).raise_for_status().json()

    def post(self, path, body):
        return self._client.post(path, json=body).raise_for_status().json()

    def close(self):
        self._client.close()
