"""Settings of the relevance scorer."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from recsys.models.backbone import STOCK
from recsys.models.layers import LayerChoice
from recsys.text.field_names import FIELDS, TextField
from training.config import FitConfig, Folds
from training.negatives.config import MiningConfig

Share = Annotated[float, Field(ge=0, le=1)]
LossName = Literal["graded", "ordinal", "ranknet", "margin-mse", "listnet", "softmax", "lambdarank", "lambdaloss"]
TeacherLoss = Literal["cross-entropy", "mse"]
Names = Annotated[tuple[str, ...], BeforeValidator(lambda given: given.split() if isinstance(given, str) else given)]


class RelevanceConfig(FitConfig, MiningConfig):
    """As `FitConfig` and `MiningConfig`, and what is particular to a cross-encoder.

    What is mined for a query is learned with grade 0, and weighs like a judgment.

    Attributes:
        backbone: whose weights the network starts from where no other start is named.
        layers: keep only so many layers of what the network starts from; None keeps all.
        layer_choice: keep the "first" ones, or "spaced" ones from the lowest to the highest.
        members: networks with seeds seed, seed + 1 ... that score together by the mean of their logits, at so many
            times the cost.
        teachers: folders or addresses of models (several with spaces between) whose mean logit is learned as well.
            What they learned from must not hold this snapshot's held-out queries.
        teacher_weight: share of the teachers in the loss, 0..1; the rest is the loss of the grades.
        teacher_loss: of the teachers' logits: cross-entropy to their probability at the temperature, or squared
            difference.
        temperature: divides both logits in the cross-entropy, above 0; higher tells more of the small differences.
        transfer: so many unjudged products for each training query, found by BM25, that the teachers grade alone.
        transfer_titles: so many made-up queries besides, spans of words from the main shop's titles; each has
            `transfer` products, too.
        label_share: learn from the judgments of this share of the training queries, 0..1; a smaller share is part of
            a larger one. 0 learns no grade of this shop.
        replay: with `--init`: learn the judgments that the model there has not seen, and this share, 0..1, of its own
            queries again, so that it does not forget; None learns all that the snapshot has.
        replay_from: folder of the snapshot which that model was learned from, where it isn't under RECSYS_HOME.
        also_epochs: with `--also`: how many times the other shops' judgments are learned before the own ones; 0 learns
            them together with those, in every epoch, at several times the cost.
        fields: of a product that stand in its text; fewer help where the judgments were given by the title alone.
        max_length: tokens of a pair of query and product text; longer texts are cut.
        pooling: what the head reads, the mean of the hidden vectors or the first of them.
        dropout: of the pooled vector, 0..1.
        freeze_embeddings: leave the word vectors as they are, so that words outside the judgments keep their place.
        loss: of the grade itself (graded cross-entropy; ordinal, with cut-points learned for each shop), or of the
            order inside a query, in batches of whole queries: by pairs (ranknet, margin-mse), by lists (listnet,
            softmax) or by NDCG@10 (lambdarank, lambdaloss); after the latter sigmoid(score) is no expected grade until
            it is calibrated.
        layer_decay: each layer learns at this share of the rate of the one above it, 1 at the same; above 0 to 1.
        held_out_folds: how many parts of training and validation queries are scored by networks that learned from the
            others, for the calibration, two or more; each costs one training. 0 keeps the scores of the validation
            part alone, which cost nothing and are enough where it has hundreds of queries.
        rater_weight: weigh a judgment by 1 / (1 + the raters' standard deviation) where that is known.
        synonyms: share of the words with synonyms, in query and product, that are replaced; drawn anew in each epoch,
            as are the five that follow. 0..1, and 0 is off.
        near: least cosine of two words' vectors for near-synonyms to be learned from catalogue and judgments, 0..1;
            1 learns none.
        synonyms_file: the shop's own synonyms, one group a line (`sofa, couch` or `telly => tv`); "" for none.
        typos: share of the query's words that are misspelt, 0..1.
        word_dropout: share of the words of query and product that are left out, 0..1.
        field_dropout: share of the product's fields but the title that are left out, 0..1.
        attribute_dropout: share of the product's attributes that are left out, 0..1.
        adversarial: length of the step by which each pair's word vectors are moved up the loss (FGM), the pair learned
            a second time from there; a word vector of the stock backbone is about 1 long. 0 is off.
        rdrop: weight of the divergence between two passes with different dropout (R-Drop); 0 is off.
        soup: runs with seeds from `seed` on whose weights are averaged; 1 is a single run.
        soup_by: average all of them ("uniform"), or only those that help on the validation part ("greedy").
        lora: rank of low-rank adapters (LoRA), learned in place of the backbone's weights and merged into them at the
            end; 0 learns the weights themselves.
        lora_alpha: the adapters' output counts lora_alpha / lora.
        lora_targets: the layers that have adapters, by the end of their names.
    """

    epochs: Annotated[int, Field(ge=1)] = 3
    patience: Annotated[int, Field(ge=0)] = 1
    learning_rate: Annotated[float, Field(gt=0)] = 5e-5
    backbone: str = STOCK
    layers: Annotated[int, Field(ge=1)] | None = None
    layer_choice: LayerChoice = "first"
    members: Annotated[int, Field(ge=1, le=16)] = 1
    teachers: Names = ()
    teacher_weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    teacher_loss: TeacherLoss = "cross-entropy"
    temperature: Annotated[float, Field(gt=0)] = 1.0
    transfer: Annotated[int, Field(ge=0, le=1000)] = 0
    transfer_titles: Annotated[int, Field(ge=0)] = 0
    label_share: Annotated[float, Field(ge=0, le=1)] = 1.0
    replay: Annotated[float, Field(ge=0, le=1)] | None = None
    replay_from: str = ""
    also_epochs: Annotated[int, Field(ge=0)] = 1
    fields: Annotated[tuple[TextField, ...], Field(min_length=1)] = FIELDS
    max_length: Annotated[int, Field(ge=8, le=512)] = 64
    pooling: Literal["mean", "first"] = "mean"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    freeze_embeddings: bool = True
    loss: LossName = "graded"
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    held_out_folds: Folds = 0
    rater_weight: bool = False
    synonyms: Share = 0.0
    near: Share = 0.5
    synonyms_file: str = ""
    typos: Share = 0.0
    word_dropout: Share = 0.0
    field_dropout: Share = 0.0
    attribute_dropout: Share = 0.0
    adversarial: Annotated[float, Field(ge=0)] = 0.0
    rdrop: Annotated[float, Field(ge=0)] = 0.0
    soup: Annotated[int, Field(ge=1)] = 1
    soup_by: Literal["uniform", "greedy"] = "uniform"
    lora: Annotated[int, Field(ge=0)] = 0
    lora_alpha: Annotated[float, Field(gt=0)] = 16.0
    lora_targets: Annotated[tuple[str, ...], Field(min_length=1)] = ("query", "value")

    @property
    def asks_judge(self) -> bool:
        """True where the teachers are asked about what is mined."""
        return self.negatives > 0 and self.max_relevance is not None

    @model_validator(mode="after")
    def _judged(self) -> "RelevanceConfig":
        if self.asks_judge and not self.teachers:
            raise ValueError("max_relevance asks teachers: name them; teacher_weight = 0 learns nothing else of them")
        return self

    @property
    def augments(self) -> bool:
        """True where training pairs are written anew in each epoch."""
        return any((self.synonyms, self.typos, self.word_dropout, self.field_dropout, self.attribute_dropout))
