"""What an environment must bring to be trained on, and the environments that do."""
