"""What a benchmark report says: blocks in order, unescaped. How they look is the business of report.py and plots."""
