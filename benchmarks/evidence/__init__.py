"""Evidence: trainings of many backbones, one after another, and what heads reach on each of them."""
