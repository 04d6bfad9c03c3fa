"""Which words of query and product text made a cross-encoder's score: integrated gradients, word by word."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys.models.cross_encoder import CrossEncoder
from recsys.models.ensemble import member_folders
from recsys.text.tokenizer import Place, TextTokenizer, Tokens
from recsys.types import Attribution, WordWeight

STEPS = 16  # leave about a hundredth of the difference unexplained
ROWS = 64  # points of a path that go through the network at once


class Attributor:
    """Explains the scores of one cross-encoder; it computes in float32, whatever the ranker does.

    The weights of all words, and what is left, add up to the difference between the pair's logit and that of the same
    pair with every word hidden behind [PAD]; [CLS] and [SEP] stay. [MASK] is no such nothing: as one and the same
    word on both sides it looks like a match, and weights measured from there run against what leaving words out does.

    Args:
        members: the cross-encoder, or those whose logits are averaged, in float32 and evaluation mode; the weights of
            several are averaged, too, since the gradient of a mean is the mean of the gradients.
        tokenizer: of the same folder.
        steps: points on the way from the hidden words to the words; more leave less unexplained.

    Source: Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", ICML 2017 (arXiv 1703.01365),
    equation 1 by the midpoint rule; completeness is their proposition 1.
    """

    def __init__(self, members: Sequence[CrossEncoder], tokenizer: TextTokenizer, *, steps: int = STEPS) -> None:
        self.members = [member.requires_grad_(requires_grad=False) for member in members]
        self.tokenizer = tokenizer
        self.steps = steps

    @classmethod
    def load(cls, folder: Path, *, steps: int = STEPS) -> Self:
        """The attributor of a folder that holds a cross-encoder and its tokenizer.

        Raises:
            BundleError: a file is absent, damaged or of another format.
        """
        members = [CrossEncoder.load(place) for place in member_folders(folder)]
        return cls(members, TextTokenizer.load(folder), steps=steps)

    def explain(self, queries: Sequence[str], texts: Sequence[str]) -> list[Attribution]:
        """The words behind the score of each pair (queries[i], texts[i]).

        Each pair is one pass of `steps` points through each network and back, without padding: its weights do not
        depend on its company.
        """
        length = self.members[0].max_length
        tokens = self.tokenizer.encode(queries, pairs=texts, max_length=length)
        places = self.tokenizer.places(queries, pairs=texts, max_length=length)
        return [
            self.pair(query, text, tokens.take([row]), places=places[row])
            for row, (query, text) in enumerate(zip(queries, texts, strict=True))
        ]

    def pair(self, query: str, text: str, tokens: Tokens, *, places: Sequence[Place]) -> Attribution:
        """One pair's attribution."""
        batch = self.tokenizer.pad(tokens)
        spoken = torch.tensor([place.word is not None for place in places])[None]
        hidden = torch.where(spoken, self.tokenizer.pad_id, batch["input_ids"])
        ends = [self.ends(member, hidden, batch) for member in self.members]
        baseline, logit = (float(value) for value in torch.stack(ends).mean(dim=0))
        shares = np.mean([self.shares(member, hidden, batch) for member in self.members], axis=0)
        return Attribution(
            query=query,
            text=text,
            query_words=tuple(words(query, places, shares, side=0)),
            text_words=tuple(words(text, places, shares, side=1)),
            logit=logit,
            baseline=baseline,
            remainder=logit - baseline - float(shares.sum()),
        )

    def ends(self, member: CrossEncoder, hidden: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """float32 [2]: the logits of the hidden words and of the words; arguments as of `shares`."""
        mask, types = batch["attention_mask"].expand(2, -1), batch["token_type_ids"].expand(2, -1)
        with torch.inference_mode():
            logits: Tensor = member(torch.cat([hidden, batch["input_ids"]]), mask, types)
        return logits

    def shares(self, member: CrossEncoder, hidden: Tensor, batch: Mapping[str, Tensor]) -> NDArray[np.float64]:
        """float64 [length]: what each token adds on the straight way from the hidden words to the words.

        Args:
            member: the network.
            hidden: int64 [1, length], the tokens with every word hidden.
            batch: the pair, as `TextTokenizer.pad` gives it.
        """
        start, end = (member.backbone.word_vectors_of(ids) for ids in (hidden, batch["input_ids"]))
        way, total = end - start, torch.zeros(end.shape[1:], dtype=torch.float64)
        points = (torch.arange(self.steps, dtype=torch.float32) + 0.5) / self.steps
        for first in range(0, self.steps, ROWS):
            part = points[first : first + ROWS]
            path = (start + part[:, None, None] * way).requires_grad_()
            mask, types = (batch[name].expand(len(part), -1) for name in ("attention_mask", "token_type_ids"))
            with torch.enable_grad():
                (slopes,) = torch.autograd.grad(member(None, mask, types, path).sum(), path)
            total += slopes.double().sum(dim=0)
        found: NDArray[np.float64] = (total / self.steps * way[0].double()).sum(dim=1).numpy()
        return found


def words(text: str, places: Sequence[Place], shares: NDArray[np.float64], *, side: int) -> Iterator[WordWeight]:
    """The whole words of one text: the pieces of a word are one, and so are words without white space between them.

    Args:
        text: the first (side 0) or second (side 1) of the pair.
        places: of the pair's tokens.
        shares: float64 [tokens].
        side: which text.
    """
    found: list[list[float]] = []  # start, end, weight
    for place, share in zip(places, shares, strict=True):
        if place.side != side or place.word is None:
            continue
        if found and not text[int(found[-1][1]) : place.start].strip() and place.start == found[-1][1]:
            found[-1][1:] = [place.end, found[-1][2] + share]
        else:
            found.append([place.start, place.end, share])
    for start, end, weight in found:
        yield WordWeight(text[int(start) : int(end)], int(start), int(end), float(weight))
