"""What encoders with pretrained models share: their inputs, their models, what is read of those."""
