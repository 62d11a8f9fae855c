"""Plots of a report: plain values in, SVG out; a file for each kind. matplotlib is imported when one is drawn."""
