"""What a report writer is: conversation, batches, model, checkpoint."""
