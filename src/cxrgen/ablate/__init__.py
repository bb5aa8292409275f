"""What each view and each part of the context is worth to a checkpoint."""
