"""Plans in the words of engines and of those that start them."""
