"""What can go wrong, as one tree; every class is also the standard error that it refines.

MemoryR1Error
├── StoreError (OSError)            the bank's folder or URI cannot be used; the message names it
│   ├── StoreFormatError            something else, a newer format or a damaged table lies there
│   └── EmbedderMismatchError       the stored vectors come from another embedding model
├── ConflictError (RuntimeError)    what the decision was based on has changed since; see MemoryBank.apply
├── UnknownMemoryError (LookupError) no memory or operation has this id
├── ModelError (RuntimeError)       a model's server is away, refuses a request or does not answer in its time
├── OutputError (ValueError)        a model's output cannot be read; the message says why, for the model to retry
├── InputError (ValueError)         a file, a line, an option or a message that cannot be used
│   └── IdentityError               a run asks for the memories of another user than its own
└── MissingDependencyError (ImportError)  an extra is not installed; the message is the command that installs it
"""

from __future__ import annotations

from collections.abc import Sequence


class MemoryR1Error(Exception):
    """Base of every error that this library raises on purpose."""


class StoreError(MemoryR1Error, OSError):
    """The folder or URI of a store cannot be opened, read or written."""


class StoreFormatError(StoreError):
    """What lies at the store's place is damaged, foreign, or written by a newer version."""


class EmbedderMismatchError(StoreError):
    """The stored vectors were made by another embedding model than the one given."""


class ConflictError(MemoryR1Error, RuntimeError):
    """Another writer changed what a write was based on; nothing of the refused write is visible."""

    def __init__(self, message: str, keys: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.keys = tuple(keys)
        """Keys (for a bank: memory ids) that had changed."""


class UnknownMemoryError(MemoryR1Error, LookupError):
    """No memory or operation has the given id."""


class ModelError(MemoryR1Error, RuntimeError):
    """A model's server cannot be reached, refuses a request, or answers with something else than a reply."""


class OutputError(MemoryR1Error, ValueError):
    """A model's output cannot be read as what its role has to return."""


class InputError(MemoryR1Error, ValueError):
    """Input from a user (file, line, option, message) that cannot be used."""


class IdentityError(InputError):
    """A run asks for the memories of another user than its own; raised also where a memory may fail silently."""


class MissingDependencyError(MemoryR1Error, ImportError):
    """An optional dependency is missing; the message is the command that installs it."""
