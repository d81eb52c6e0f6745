"""What a task and a backbone look like before any training: a vector of fixed length."""
