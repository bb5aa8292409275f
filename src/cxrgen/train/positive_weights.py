"""Sentences that state a finding weigh more in the loss: `--weight_positive 3`, or `Fracture=4,Lung Lesion=2`.

Most sentences of a report deny something, and a model that denies always has learnt most of its tokens. The rule labels
say which sentences state a finding as present. All weights are then scaled so that their mean over the training tokens
is 1, so a learning rate means what it meant. A sentence's tokens are found by encoding the report up to its ends, with
the model's own tokenizer and template, whatever they are.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cxrgen.core.progress import say
from cxrgen.core.records import Conversation
from cxrgen.model.batches import IGNORE, Sample
from cxrgen.model.families import ModelFamily
from cxrgen.text.rule_labels import read_sentence
from cxrgen.text.sentences import sentence_ends


def weighted(
    samples: Sequence[Sequence[Sample]],
    variants: Sequence[Sequence[Conversation]],
    family: ModelFamily,
    folder: Path,
    weights: Mapping[str, float],
) -> list[list[Sample]]:
    """The samples with a weight for each token; says which share of tokens and of weight the findings have."""
    asked = {(each.id, each.images): each for some in variants for each in some}

    def factors(sample: Sample) -> array[float]:
        return token_factors(sample, asked[sample.id, sample.images], family, folder, weights)

    found = [[factors(sample) for sample in some] for some in samples]
    pairs = [pair for some, of in zip(samples, found) for pair in zip(some[0].labels, of[0]) if pair[0] != IGNORE]
    stated = [factor for _, factor in pairs if factor]
    plain = len(pairs) - len(stated)
    whole = plain + sum(stated)
    say(
        f"--weight_positive: sentences that state a finding have {len(stated) / len(pairs):.1%} of the tokens and "
        f"{sum(stated) / whole:.1%} of the weight"
    )
    scale = len(pairs) / whole
    return [
        [replace(each, weights=array("f", [(factor or 1.0) * scale for factor in own])) for each, own in zip(some, of)]
        for some, of in zip(samples, found)
    ]


def token_factors(
    sample: Sample, conversation: Conversation, family: ModelFamily, folder: Path, weights: Mapping[str, float]
) -> array[float]:
    """Of each token the weight of the sentence that it belongs to; 0 where that states none of these findings."""
    text = conversation.turns[-1].text
    found = array("f", [0.0]) * len(sample.labels)
    ends = sentence_ends(text)
    for start, end in zip([0, *ends], ends):
        stated = [weights[name] for name, value in read_sentence(text[start:end])[1] if value == 1 and name in weights]
        if stated:
            first, last = (tokens_before(place, sample, conversation, family, folder) for place in (start, end))
            for place in range(first, min(last, len(found))):
                found[place] = max(stated)
    return found


def tokens_before(place: int, sample: Sample, conversation: Conversation, family: ModelFamily, folder: Path) -> int:
    """How many tokens of a sample, its prompt's included, come before a place in its answer's text."""
    first = next((at for at, label in enumerate(sample.labels) if label != IGNORE), len(sample.labels))
    if not place:
        return first
    *before, last = conversation.turns
    text = last.text[:place] if place < len(last.text.rstrip()) else f"{last.text.rstrip()} x"  # not the end mark
    ids = family.encode(replace(conversation, turns=(*before, replace(last, text=text))), folder).input_ids
    return max(first, next((at for at, (one, two) in enumerate(zip(ids, sample.input_ids)) if one != two), len(ids)))
