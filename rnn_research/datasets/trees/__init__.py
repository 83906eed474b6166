"""Data whose samples are trees: Penn brackets, nested JSON and the syntax trees of programs."""
