"""Models and decisions: targets, curves, bundles, explanations, policy."""
