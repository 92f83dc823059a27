"""`vllm:NAME@http://host:port`: a chat model behind an OpenAI-compatible server, such as vLLM.

    base    = load_chat_model("vllm:base@http://localhost:8000")
    manager = load_chat_model("vllm:manager@http://localhost:8000", role="manage")   # a LoRA adapter, by its name

One server holds a base and its adapters; the name chooses between them. In a role, the server holds the model to the
JSON of that role, greedily unless a temperature is given, without thoughts ahead and whatever the base's
generation_config.json says of sampling: as `hf:` models reply, and as adapters were trained. Every call has a
connection of its own: nothing is bound to an event loop, and a server that was started anew is found again. Proxies of
the environment are not used. The key, if the server wants one, is taken from `VLLM_API_KEY`.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

import httpx
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field, SecretStr

from langgraph_memory_r1.errors import InputError, ModelError
from langgraph_memory_r1.models import openai_api
from langgraph_memory_r1.models.errors import wrong_setting
from langgraph_memory_r1.prompts import Role

_SPEC = re.compile(r"vllm:(?P<model>.+?)@(?P<url>https?://[^/?#\s]+[^?#\s]*)")
_FIXES = {
    401: "set VLLM_API_KEY to the server's key",
    403: "set VLLM_API_KEY to the server's key",
    404: "its /v1/models lists the names that it serves",
}
_STREAMED: Final = {"stream": True, "stream_options": {"include_usage": True}}


class VLLMChatModel(BaseChatModel):
    """A chat model behind an OpenAI-compatible server; sync, async and streaming, with tools and token counts."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    model: str
    """The served base, or one of its adapters."""
    base_url: str
    """Ends in /v1."""
    api_key: SecretStr | None = Field(default_factory=lambda: SecretStr(os.environ.get("VLLM_API_KEY", "")))
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    response_format: dict[str, Any] | None = None
    structured: bool = True
    """Whether a role holds the model to its JSON, greedily; rollouts for training must be free."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Further fields of the request, for example `{"return_token_ids": True}`."""
    timeout: float = 120.0
    """Seconds that the server may be silent."""

    def model_post_init(self, context: Any) -> None:
        """Read the certificates now, because that would hold up an event loop in the first call."""
        _certificates(self.base_url.startswith("https"))

    @property
    def _llm_type(self) -> str:
        return "vllm"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model, "base_url": self.base_url, **self._fields(None, {})}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop, **kwargs)
        params["ls_provider"] = "vllm"
        return params

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        body = openai_api.request_body(messages, self._fields(stop, kwargs))
        with self._errors(), httpx.Client(**self._connection()) as client:
            response = client.post("chat/completions", content=body)
        self._check(response)
        return openai_api.parse_completion(response.text)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        body = openai_api.request_body(messages, self._fields(stop, kwargs))
        with self._errors():
            async with httpx.AsyncClient(**self._connection()) as client:
                response = await client.post("chat/completions", content=body)
        self._check(response)
        return openai_api.parse_completion(response.text)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        body = openai_api.request_body(messages, self._fields(stop, kwargs) | _STREAMED)
        with (
            self._errors(),
            httpx.Client(**self._connection()) as client,
            client.stream("POST", "chat/completions", content=body) as response,
        ):
            if response.is_error:
                response.read()
            self._check(response)
            yield from filter(None, map(openai_api.parse_chunk, response.iter_lines()))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        body = openai_api.request_body(messages, self._fields(stop, kwargs) | _STREAMED)
        with self._errors():
            async with (
                httpx.AsyncClient(**self._connection()) as client,
                client.stream("POST", "chat/completions", content=body) as response,
            ):
                if response.is_error:
                    await response.aread()
                self._check(response)
                async for line in response.aiter_lines():
                    if (chunk := openai_api.parse_chunk(line)) is not None:
                        yield chunk

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools to the model; the server has to be started with a parser for its tool calls."""
        choice: Any = "required" if tool_choice == "any" else tool_choice
        if choice not in (None, "auto", "none", "required"):
            choice = {"type": "function", "function": {"name": choice}}
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], tool_choice=choice, **kwargs)

    def role_settings(self, role: Role) -> dict[str, Any]:
        """Return what a role adds to a request, where the model's own settings say nothing of it."""
        own = self._fields(None, {})
        settings: dict[str, Any] = {
            "chat_template_kwargs": openai_api.CHAT_TEMPLATE_KWARGS, **openai_api.NEUTRAL_SAMPLING,
        }  # fmt: skip
        if self.structured:
            settings |= {"response_format": openai_api.response_format(role), "temperature": 0.0}
        return {key: value for key, value in settings.items() if own.get(key) is None}

    def with_role(self, role: Role) -> VLLMChatModel:
        """Return the same model, playing a role in every call."""
        return self.model_copy(update={"extra_body": {**self.role_settings(role), **self.extra_body}})

    def base_model(self) -> str | None:
        """Ask the server for the base below this adapter; None where it does not tell.

        Raises:
            InputError: The server has no adapter of this name.
            ModelError: The server cannot be asked.
        """
        with self._errors(), httpx.Client(**self._connection()) as client:
            response = client.get("models")
        self._check(response)
        return openai_api.parse_base(self.model, response.text)

    def _fields(self, stop: list[str] | None, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of a request; what a call is given goes before the model's own settings."""
        settings = {
            name: getattr(self, name)
            for name in ("model", "temperature", "top_p", "max_tokens", "seed", "response_format")
        }
        call = {key: value for key, value in kwargs.items() if not key.startswith("ls_")}  # those are for tracers
        return {**settings, "stop": stop, **self.extra_body, **call}

    def _connection(self) -> dict[str, Any]:
        # A client for each call: a kept one belongs to the event loop that it was made in, and holds connections to a
        # server that may have been started anew.
        key = self.api_key.get_secret_value() if self.api_key else ""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        timeout = httpx.Timeout(self.timeout, connect=min(self.timeout, 10.0))
        return {
            "base_url": self.base_url, "headers": headers, "timeout": timeout,
            "trust_env": False, "verify": _certificates(self.base_url.startswith("https")),
        }  # fmt: skip

    def _check(self, response: httpx.Response) -> None:
        if response.is_success:
            return
        fix = _FIXES.get(response.status_code, "")
        problem = f"{self._label()} answered {response.status_code}: {openai_api.error_message(response.text)}"
        # The cause carries the status and Retry-After, by which `limits` decides whether to try again.
        status_error = httpx.HTTPStatusError(problem, request=response.request, response=response)
        raise ModelError(f"{problem}; {fix}" if fix else problem) from status_error

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn the errors of httpx into those of this library."""
        try:
            yield
        except httpx.TimeoutException as error:
            raise ModelError(f"{self._label()} did not answer within {self.timeout:g} s; give timeout=") from error
        except httpx.ConnectError as error:
            raise ModelError(f"{self._label()} cannot be reached; is the server running? ({error})") from error
        except httpx.HTTPError as error:
            raise ModelError(f"{self._label()} broke off: {str(error) or type(error).__name__}") from error

    def _label(self) -> str:
        return f"The model {self.model!r} at {self.base_url}"


def vllm_model(spec: str, **settings: Any) -> VLLMChatModel:
    """Return the model behind `vllm:NAME@http://host:port`.

    Raises:
        InputError: The string has another shape, or a setting is not known.
    """
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise InputError(
            f"{spec!r} names no served model; give vllm:NAME@http://HOST:PORT, as vllm:base@http://localhost:8000"
        )
    url = match["url"].rstrip("/")
    try:
        return VLLMChatModel(model=match["model"], base_url=url if url.endswith("/v1") else f"{url}/v1", **settings)
    except ValueError as error:
        raise InputError(f"{spec!r} cannot be used with {', '.join(settings)}: {wrong_setting(error)}") from error


@lru_cache
def _certificates(encrypted: bool) -> ssl.SSLContext | bool:
    """Read the certificates once, and only where they are needed: it takes a tenth of a second."""
    return httpx.create_ssl_context() if encrypted else False
