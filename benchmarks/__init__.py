"""Measure Gatehouse beside its peers: one PostgreSQL, every proxy in front of it, the same work in turns.

A run's absolute figures say what the machine was doing; the ratios between proxies that were measured in turns, seconds
apart, say something about the proxies. So everything is interleaved in rounds, and medians and spreads are reported.
Nothing in here asserts a time.
"""
