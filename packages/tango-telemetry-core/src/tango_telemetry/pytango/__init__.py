"""What knows PyTango, and all that changes other people's code."""
