"""What is installed, what a checkpoint is, and what either lacks."""
