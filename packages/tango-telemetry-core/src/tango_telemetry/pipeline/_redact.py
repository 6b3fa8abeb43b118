"""Takes credentials out of URLs and texts before anybody sees them."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

HIDDEN = "***"


def redact_url(url: str) -> str:
    """`url` without user info and without the values of its query, cut at 200.

    What stands where a port would and is none may be the beginning of a password with a `/`, `?` or `#` in it.
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


def redact_text(text: str, secrets: tuple[str, ...]) -> str:
    """`text` with each of `secrets` replaced: exception texts of HTTP libraries quote the whole URL."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, HIDDEN)
    return text
