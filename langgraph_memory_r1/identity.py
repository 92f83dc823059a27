"""Who a run is for: the server's login, then the run's context, then its config.

    login ─► context ─► configurable ─► nobody

One answer for the graph, the middleware, the tools and the command line. What a client sends counts where nobody is
logged in; what contradicts the login, or stands in for what it does not say, is refused, because a client could read
anybody's memories with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from langgraph_memory_r1.errors import IdentityError, InputError

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.runtime import Runtime

DEFAULT_USER = "default"
"""Owns the memories of runs that name nobody, where that is allowed."""

USER = "user_id"
USER_KEYS = (USER, "langgraph_user_id")  # the second is what langmem calls it

_MISSPELT = "userid"
_ALIKE = frozenset("user uid username owner ownerid customerid accountid memberid email sub".split())
"""Names that other libraries give a user's id; too common for other things to be refused."""


class IdentityClaim(NamedTuple):
    """A value that a run was given, and where."""

    value: object
    where: str


def context_value(context: object, key: str) -> object:
    """Return a value of a run's context, which an app may give as a dictionary, a dataclass, a model or not at all."""
    return context.get(key) if isinstance(context, Mapping) else getattr(context, key, None)


def context_names(context: object) -> list[str]:
    """Return what a context holds by its names."""
    if isinstance(context, Mapping):
        return [str(name) for name in context]
    return list(getattr(context, "__dict__", None) or getattr(context, "__dataclass_fields__", {}))


class RunIdentity:
    """What a run says about its user.

    Args:
        runtime: Of the run: its context, and the login of the server.
        config: Of the run: its `configurable`.
        trust_client_user: The app acts for its users: an id that it gives counts before the login.
    """

    def __init__(self, runtime: Runtime[Any], config: RunnableConfig, *, trust_client_user: bool = False) -> None:
        self.context = runtime.context
        self.configurable: Mapping[str, Any] = config.get("configurable") or {}
        self._trusts_client = trust_client_user
        server = runtime.server_info
        self._on_server = server is not None or "langgraph_auth_user_id" in self.configurable
        # LangGraph passes the login on if it is an object; what a server restored from JSON is a dictionary.
        user = None if server is None else server.user
        self._login: object = user if user is not None else self.configurable.get("langgraph_auth_user")

    def login(self) -> str | None:
        """Return who is logged in to the server; None without a login, for which the server writes ''."""
        user = self._login_value("identity") or self.configurable.get("langgraph_auth_user_id")
        return None if user is None or not str(user).strip() else str(user)

    def user(self) -> str | None:
        """Return the user of the run; None where it names nobody.

        Raises:
            IdentityError: A client asks for another user than the one who is logged in.
            InputError: The user id is blank, or no id; pooling such users would mix their memories.
        """
        login, claims = self.login(), list(self._claims(USER_KEYS))
        if login is None or (self._trusts_client and claims):
            return _as_id(claims[0], "user id") if claims else login
        for claim in claims:
            # An app's own server code may write the name beside the login's id (`update_state` over HTTP does).
            if str(claim.value).strip() and str(claim.value) not in (login, self._of_login("display_name")):
                raise IdentityError(
                    f"{login!r} is logged in, and {claim.where} asks for the memories of {str(claim.value)!r}; a "
                    "client may use the memories of its own login only. Leave the id out; an app that acts for its "
                    "users says so with trust_client_user=True, or with a function as its namespace."
                )
        return login

    def value(self, key: str) -> str | None:
        """Return what a placeholder stands for; None where the run does not say.

        Raises:
            IdentityError: The login does not say, or a client asks for another value than the login has.
            InputError: The value is blank, or nothing that can stand in a name.
        """
        login, own, claims = self.login(), self._of_login(key), list(self._claims((key,)))
        if login is None or self._trusts_client:
            return _as_id(claims[0], key) if claims else own
        if own is None:
            raise IdentityError(
                f"The login of {login!r} has no {key}, and a client may not say it instead: let the server's auth "
                f"handler return {key!r}; an app that acts for its users says so with trust_client_user=True, or with "
                "a function as its namespace."
            )
        for claim in claims:
            if str(claim.value) != own:
                raise IdentityError(
                    f"The login's {key} is {own!r}, and {claim.where} asks for {str(claim.value)!r}: leave it out, or "
                    "say with trust_client_user=True that the app acts for its users."
                )
        return own

    def says_anything(self) -> bool:
        """Return whether the run was given a login or a context; one that is resumed often is given neither."""
        values = (context_value(self.context, name) for name in context_names(self.context))
        return self.login() is not None or any(value is not None for value in values)

    def misspelt(self) -> str | None:
        """Return where something stands that can only be a user's id under a mistyped name, such as `userid`."""
        for name, claim in self._names():
            plain = re.sub(r"[^a-z]", "", name.lower()).removeprefix("langgraph")
            # One letter too many, too few, or two that changed places; another letter makes words of it (user_ip).
            shorter, longer = sorted((plain, _MISSPELT), key=len)
            dropped = {longer[:at] + longer[at + 1 :] for at in range(len(longer))}
            if (shorter in dropped or sorted(plain) == sorted(_MISSPELT)) and _is_id(claim.value):
                return claim.where
        return None

    def alike(self) -> str | None:
        """Return where something stands that may be meant as a user's id, such as `user`."""
        return next((claim.where for name, claim in self._names() if re.sub(r"\W|_", "", name.lower()) in _ALIKE), None)

    def _claims(self, keys: tuple[str, ...]) -> Iterator[IdentityClaim]:
        """Yield what the client says, the context before the config."""
        for key in keys:
            if (value := context_value(self.context, key)) is not None:
                yield IdentityClaim(value, f"context[{key!r}]")
        for key in keys:
            value = self.configurable.get(key)
            # The server writes user_id='' into every run without a login. An app that gives '' has a fault.
            if value is not None and not (value == "" and self._on_server):
                yield IdentityClaim(value, f"configurable[{key!r}]")

    def _names(self) -> Iterator[tuple[str, IdentityClaim]]:
        for name in context_names(self.context):
            yield name, IdentityClaim(context_value(self.context, name), f"context[{name!r}]")
        for name in self.configurable:
            if not name.startswith("__"):
                yield name, IdentityClaim(self.configurable[name], f"configurable[{name!r}]")

    def _of_login(self, key: str) -> str | None:
        """A value of the login, as an auth handler returns them beside the identity."""
        value = None if self.login() is None else self._login_value(key)
        return str(value) if _is_id(value) else None

    def _login_value(self, key: str) -> object:
        try:
            return context_value(self._login, key)
        except NotImplementedError:  # Starlette's users have properties that only some of them fill
            return None


def _is_id(value: object) -> bool:
    return isinstance(value, str | int | UUID) and not isinstance(value, bool) and bool(str(value).strip())


def _as_id(claim: IdentityClaim, what: str) -> str:
    value = claim.value.value if isinstance(claim.value, Enum) else claim.value
    if isinstance(value, str) and not value.strip():
        raise InputError(f"The {what} is blank ({claim.where}); give the run a {USER}, or none at all.")
    if not _is_id(value):
        raise InputError(f"The {what} of {claim.where} is a {type(value).__name__}; give a string or a whole number.")
    return str(value)
