"""Keeps Triggers sessions in plain files."""

from triggers.storages import BaseTriggerStorage
from triggers_files.store import FilesStore

__all__ = ["FilesStorageBackend", "FilesStore"]


class FilesStorageBackend(BaseTriggerStorage):
    """A session in files: ``storage_backends.get("files", uid)``. The options are those of ``FilesStore``."""

    key = "files"
    store_class = FilesStore
    api_version = 1
