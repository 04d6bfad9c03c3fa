"""The shapes of the requests and answers of the route that orders texts, those that rerank clients know."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from serving.schemas import MAX_ID, MAX_ITEMS, Query

MAX_TEXT = 32_768


class TextDocument(BaseModel):
    """A text to be ranked."""

    text: Annotated[str, Field(max_length=MAX_TEXT)]


Text = Annotated[str, Field(max_length=MAX_TEXT)]


class RerankRequest(BaseModel):
    """Order texts by their relevance to a query, in the shape that rerank clients send; further fields are ignored."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"query": "blue velvet sofa", "documents": ["A red mug", "A blue sofa in velvet"], "top_n": 1},
                {"query": "mug", "documents": [{"text": "A red mug"}], "return_documents": True},
            ]
        }
    )

    model: Annotated[str | None, Field(max_length=MAX_ID)] = None
    query: Query
    documents: Annotated[list[Text | TextDocument], Field(max_length=MAX_ITEMS)]
    top_n: Annotated[int, Field(ge=1)] | None = None
    return_documents: bool = False

    def texts(self) -> list[str]:
        """The documents as plain texts."""
        return [document if isinstance(document, str) else document.text for document in self.documents]


class RerankResult(BaseModel):
    """One text's place; index counts the request's documents from 0."""

    index: int
    relevance_score: float
    document: TextDocument | None = None


class RerankMeta(BaseModel):
    """Which shape the answer has."""

    api_version: dict[str, str] = {"version": "2"}


class RerankResponse(BaseModel):
    """The texts in the order of their relevance."""

    id: str
    model: str
    results: list[RerankResult]
    meta: RerankMeta = RerankMeta()
