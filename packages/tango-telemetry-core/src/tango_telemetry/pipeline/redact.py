"""Takes credentials out of URLs and texts before anybody sees them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit, urlunsplit

HIDDEN = "***"
_MOST_READ = 4096
_MOST_SHOWN = 300


def redact_url(url: str) -> str:
    """`url` without user info and without the values of its query, cut at 200.

    What stands where a port would and is none may be the beginning of a password with a `/`, `?` or `#` in
    it.
    """
    if "://" not in url:
        text, asked, _ = url.partition("?")
        head, at, tail = text.rpartition("@")
        hidden = f"{HIDDEN}@{tail}" if at and ("/" not in head or ":" in head) else text
        return f"{hidden[:200]}?{HIDDEN}" if asked else hidden[:200]
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError for one that is none
        host = parts.netloc.rpartition("@")[2]
        userinfo = f"{HIDDEN}@" if "@" in parts.netloc else ""
        query = (
            "&".join(f"{pair.partition('=')[0]}={HIDDEN}" for pair in parts.query.split("&"))
            if parts.query
            else ""
        )
        return urlunsplit((parts.scheme, userinfo + host, parts.path, query, ""))[:200]
    except ValueError:
        return f"{url.partition('://')[0][:20]}://{HIDDEN}"


def secrets_of(url: str, headers: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """What a server might repeat and nobody may read in a log: values of `headers`, user info and query of
    `url`.
    """
    found = {part for _, value in headers for part in (value, *value.split())}
    userinfo, at, _ = url.partition("://")[2].partition("/")[0].rpartition("@")
    if at:
        found.update((userinfo, *userinfo.split(":", 1)))
    for pair in url.partition("?")[2].partition("#")[0].split("&"):
        found.add(pair.partition("=")[2])
    found.update({unquote(secret) for secret in found})
    # Shorter ones are no secrets and would make holes in every text; the longest first, for one may hold
    # another.
    return tuple(sorted((secret for secret in found if len(secret) >= 4), key=len, reverse=True))


def clean_text(text: str | bytes, secrets: tuple[str, ...] = ()) -> str:
    """A server's or a library's words for a log: on one line, without markup, control characters and
    `secrets`, cut.

    Secrets are taken out before the text is cut, for a part of one is one.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    text = text[:_MOST_READ]
    text = re.sub(r"<(script|style)\b.*?(</\1>|$)|<[^>]*>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 1] + "\u2026"
