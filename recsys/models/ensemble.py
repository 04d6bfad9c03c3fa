"""Several cross-encoders that score together: the mean of their logits, at the cost of as many networks."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from recsys.errors import BundleError
from recsys.models.backbone import UNREADABLE
from recsys.models.cross_encoder import CrossEncoder

FORMAT = 1
SETTINGS, MEMBERS = "ensemble.json", "members"


class CrossEncoderEnsemble(nn.Module):
    """Cross-encoders of one tokenizer that read the same fields; sigmoid(logit) means what it means for each.

    Args:
        members: one or more.

    Raises:
        BundleError: they read other fields or other lengths.

    Source: the mean of logits, as the teacher of Hinton et al. 2015 (arXiv 1503.02531), section 2.
    """

    def __init__(self, members: Sequence[CrossEncoder]) -> None:
        super().__init__()
        told = {(member.fields, member.max_length) for member in members}
        if len(told) != 1:
            raise BundleError(
                f"members that read {len(told)} kinds of text",
                expected="one choice of fields and max_length",
                action="train them together with members=N",
            )
        ((self.fields, self.max_length),) = told
        self.members = nn.ModuleList(members)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """float32 [batch] relevance logits, the mean over the members; arguments as of `CrossEncoder`."""
        return torch.stack([member(input_ids, attention_mask, token_type_ids) for member in self.members]).mean(dim=0)

    def save(self, folder: Path) -> None:
        """Write members/0, members/1 ... into the folder; the tokenizer is saved beside by the caller."""
        for number, member in enumerate(self.members):
            member.save(folder / MEMBERS / str(number))  # type: ignore[operator]
        settings = {"format": FORMAT, "members": len(self.members)}
        (folder / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The ensemble of a folder that `save` wrote, in evaluation mode.

        Raises:
            BundleError: a file is absent, damaged or of another format.
        """
        return cls([CrossEncoder.load(place) for place in member_folders(folder)]).eval()


PairNetwork = CrossEncoder | CrossEncoderEnsemble


def load_cross_encoder(folder: Path) -> PairNetwork:
    """The network of a component `cross_encoder`, one or several members, in evaluation mode.

    Raises:
        BundleError: a file is absent, damaged or of another format.
    """
    return CrossEncoderEnsemble.load(folder) if (folder / SETTINGS).is_file() else CrossEncoder.load(folder)


def member_folders(folder: Path) -> list[Path]:
    """The folders of the members, in their order; the folder itself where it is no ensemble.

    Raises:
        BundleError: the ensemble's settings are damaged or of another format.
    """
    if not (folder / SETTINGS).is_file():
        return [folder]
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        if settings["format"] != FORMAT or settings["members"] < 1:
            raise ValueError("another format version")
        return [folder / MEMBERS / str(number) for number in range(settings["members"])]
    except UNREADABLE as error:
        raise BundleError(
            f"{folder} holds no ensemble ({' '.join(str(error).split())[:200]})",
            expected=f"{SETTINGS} of format {FORMAT}",
            action="train it again with `recsys train relevance --set members=3`",
        ) from error
