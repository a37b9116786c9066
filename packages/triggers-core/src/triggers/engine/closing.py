"""Closed sessions: cancelled, moved away, or a copy that is not active yet. They take nothing."""

from __future__ import annotations

from triggers.errors import SessionClosed

CANCELLED, MOVED, COPY = "cancelled", "moved", "copy"


def closed_error(uid: str, closed: str, because: str) -> SessionClosed:
    """Why a session takes nothing."""
    texts = {
        CANCELLED: f"session {uid!r} was cancelled ({because}) and takes nothing any more",
        MOVED: f"session {uid!r} was moved to the storage {because!r}; use it there",
        COPY: f"session {uid!r} is a copy from the storage {because!r} that is not active yet; activate it, or use the original",
    }
    return SessionClosed(texts.get(closed, f"session {uid!r} is closed: {closed}"))
