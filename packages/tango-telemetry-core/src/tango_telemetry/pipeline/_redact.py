"""Takes credentials out of URLs and texts before anybody sees them."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

HIDDEN = "***"


def redact_url(url: str) -> str:
    """`url` without user info and without the values of its query; a text that is no URL comes back cut at 200."""
    if "://" not in url:
        head, at, tail = url.rpartition("@")
        return (f"{HIDDEN}@{tail}" if at and "/" not in head else url)[:200]
    try:
        parts = urlsplit(url)
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


def redact_text(text: str, secrets: tuple[str, ...]) -> str:
    """`text` with each of `secrets` replaced: exception texts of HTTP libraries quote the whole URL."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, HIDDEN)
    return text
