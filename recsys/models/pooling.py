"""From the hidden vectors of the tokens to one vector of the text."""

from torch import Tensor


def mean_pool(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """Mean of the hidden vectors over the tokens that are no padding.

    Args:
        hidden: float [batch, length, width].
        attention_mask: int64 [batch, length], 0 at padding.

    Returns:
        float32 [batch, width].

    Source: Reimers and Gurevych, Sentence-BERT, arXiv 1908.10084, section 3.
    """
    mask = attention_mask.unsqueeze(-1).float()
    return (hidden.float() * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)
