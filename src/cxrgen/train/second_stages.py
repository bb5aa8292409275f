"""The settings of stages that go on from a trained model: pairs of reports (dpo), rewards of sampled ones (grpo)."""

from __future__ import annotations

from dataclasses import dataclass

from cxrgen.train.options import option

STAGES = ("sft", "dpo", "grpo")
PAIR_LOSSES = ("sigmoid", "sigmoid_norm")
POLICY_LOSSES = ("dr_grpo", "grpo")
DEFAULT_REWARD = "rule_f1+rouge_l+0.5*length_penalty+0.5*prior_penalty"


@dataclass(frozen=True)
class PreferenceConfig:
    """A second stage on pairs of reports, one better than the other; `preferences` makes the pairs, `dpo` the loss."""

    stage: str = option(
        "sft",
        "sft learns from the reports, dpo from pairs of a better and a worse one, grpo from rewards of sampled ones",
        choices=STAGES,
    )
    candidates: str = option(
        "",
        "dpo: predictions.jsonl of the training split (`cxrgen generate --split train --samples N`), with commas",
        metavar="FILES",
        outcome=False,
    )
    pair_utility: str = option("rule+rouge_l", "dpo: score of a candidate against the study's own report")
    pair_gap: float = option(0.05, "dpo: least difference of that score between the two of a pair", at_least=0)
    other_patient_pairs: bool = option(False, "dpo: also the study's own report against another patient's")
    beta: float = option(0.1, "dpo: how strongly the model is held to where it started", at_least=0)
    pair_loss: str = option(
        "sigmoid", "dpo: on log-probabilities of reports, or (norm) on their mean over tokens", choices=PAIR_LOSSES
    )
    ld_alpha: float = option(
        0.5, "dpo: weight of tokens beyond the shorter report's length, so that length is no aim; 1: plain", at_least=0
    )


@dataclass(frozen=True)
class PolicyConfig:
    """A second stage on rewards: `rollouts` samples and scores reports, `grpo` has the loss, `reward_watch` looks."""

    reward: str = option(
        DEFAULT_REWARD, "grpo: what a sampled report is worth, of cxrgen.metrics.rewards and any registered score"
    )
    reward_truth: str = option(
        "", "grpo: findings.csv of synthetic studies, for reward finding_f1", metavar="FILE", outcome=False
    )
    group_size: int = option(8, "grpo: reports that are sampled of a study and compared with each other", at_least=2)
    sample_temperature: float = option(1.0, "grpo: temperature of the sampling, and of the probabilities that learn")
    sample_tokens: int = option(256, "grpo: longest sampled report", at_least=1)
    updates: int = option(1, "grpo: steps on the same sampled reports; clipping acts from the second on", at_least=1)
    clip_low: float = option(0.2, "grpo: how far a token's probability may fall in these steps, as a share", at_least=0)
    clip_high: float = option(0.2, "grpo: how far it may rise", at_least=0)
    kl_weight: float = option(0.04, "grpo: how strongly the model is held to where it started; 0: not", at_least=0)
    policy_loss: str = option(
        "dr_grpo",
        "dr_grpo weighs neither a report's length nor a group's spread; grpo has each report's mean over its own "
        "tokens and divides by the group's standard deviation",
        choices=POLICY_LOSSES,
    )
    watch_steps: int = option(
        50, "grpo: steps between looks at the watched studies; what gets worse there ends the run", at_least=1
    )
    watch_studies: int = option(128, "grpo: studies of each watched set, the same each time", at_least=5)
    outside_data: str = option(
        "", "grpo: prepared set of another source, watched as well and never learnt", metavar="DIR", outcome=False
    )
