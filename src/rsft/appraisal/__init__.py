"""How good is a scorer? What can be asked of it, and what it is worth on replies of which one knows what they are."""

from rsft.appraisal.appraise import appraise, appraise_recipe
from rsft.appraisal.describe import described, listed, rule_described, rules_listed
from rsft.appraisal.trials import Trial, labelled, trials_of

__all__ = [
    "Trial",
    "appraise",
    "appraise_recipe",
    "described",
    "labelled",
    "listed",
    "rule_described",
    "rules_listed",
    "trials_of",
]
