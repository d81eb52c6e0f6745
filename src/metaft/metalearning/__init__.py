"""Meta-learning of an initialisation: Reptile, FOMAML, MAML and Meta-SGD over episodes."""
