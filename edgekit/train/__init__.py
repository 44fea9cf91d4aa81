"""Training: graphs become Keras models, and trained weights come back. Importing its modules loads Keras."""
