"""Training: data readers, architectures, recipes, and the loop that makes a bundle."""
