"""The retriever: one text encoder for queries and products, learned with in-batch negatives."""
