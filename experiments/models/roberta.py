"""RoBERTa with a head for words that is computed where words are to be told. Imports transformers."""

from __future__ import annotations

from torch import Tensor
from transformers import RobertaForMaskedLM


class RobertaAtTargets(RobertaForMaskedLM):
    """transformers' model, its parameters by their names, with another forward pass, that of fairseq's
    (models/roberta/model.py, `masked_tokens`): at all places the head would be a third of the work."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None, places: Tensor) -> Tensor:  # type: ignore[override]
        """Logits [places, vocabulary] at `places`, int64, of `input_ids` [n, length] laid out row by row;
        `attention_mask` [n, length] is 1 at tokens and 0 at padding, None where there is none."""
        hidden = self.roberta(input_ids, attention_mask=attention_mask).last_hidden_state
        return self.lm_head(hidden.flatten(0, 1).index_select(0, places))
