"""Tests of the mirror of readers of benchmarks."""
