"""What reports say: sections, cleaning, prompts, rule labels."""
