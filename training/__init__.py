"""Fits the curves, measures them out of time, tracks them in MLflow and promotes them."""
