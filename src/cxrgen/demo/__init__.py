"""The whole way on synthetic studies: data, training, generation, scores."""
