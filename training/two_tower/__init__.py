"""The two-tower recommender: data, loss, learning and the stage that joins them."""
