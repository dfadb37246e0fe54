"""The learner: credit, scoring, speed, endurance."""
