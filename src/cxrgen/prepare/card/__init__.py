"""The data card of a prepared set: card.html and card.json."""
