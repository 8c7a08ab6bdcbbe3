"""Tests of the recovery incentive."""
