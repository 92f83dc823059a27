"""Chat models, embedding models and LoRA adapters, by name; whatever is heavy loads when it is asked for.

    load_chat_model("rules")                                the no-model baseline, as an ordinary chat model
    load_chat_model("openai:gpt-5-mini")                    any provider that LangChain knows, if it is installed
    load_chat_model("ollama:qwen3")                         a model that Ollama serves
    load_chat_model("vllm:manager@http://localhost:8000")   a base or an adapter of a vLLM server, by its name
    load_chat_model("hf:Qwen/Qwen3-4B", adapter="run-7")    a local Hugging Face model (extra `local`)
    load_embeddings("minilm")                               a local sentence-transformers model (extra `local`)

A further provider that LangChain does not know is a module of its own and a branch in `loading.load_chat_model`.
Nothing here turns on tracing or telemetry of a library.
"""

from langgraph_memory_r1.models.adapters import Manifest, check_adapter, read_manifest, write_manifest
from langgraph_memory_r1.models.embedders import SentenceTransformerEmbeddings, load_embeddings
from langgraph_memory_r1.models.limits import LimitedChatModel, with_limits
from langgraph_memory_r1.models.loading import for_role, load_chat_model, model_name
from langgraph_memory_r1.models.rules_model import RulesChatModel

__all__ = [
    "load_chat_model", "for_role", "model_name", "RulesChatModel",
    "with_limits", "LimitedChatModel",
    "Manifest", "write_manifest", "read_manifest", "check_adapter",
    "load_embeddings", "SentenceTransformerEmbeddings",
]  # fmt: skip
